"""API keys: the list, making one, changing, rotating and revoking it, and reporting one that
leaked."""

from typing import Any

from starlette.responses import Response

from backend.console.key_forms import ACCESS, AS_IT_IS, ENDS, KINDS, KeyForm
from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.rights import groups_of
from backend.console.visits import Visit
from backend.environments.routes import EnvironmentList
from backend.forms.documents import FormList
from backend.keys.schemas import GRACE_HOURS_MAX, Accepted, ApiKey, ApiKeyList, CreatedApiKey
from contracts.problems import Rejected

_KEYS = ("GET", "/v1/api-keys")
_CREATE = ("POST", "/v1/api-keys")
_KEY = ("GET", "/v1/api-keys/{key_id}")
_CHANGE = ("PATCH", "/v1/api-keys/{key_id}")
_REVOKE = ("DELETE", "/v1/api-keys/{key_id}")
_ROTATE = ("POST", "/v1/api-keys/{key_id}/rotate")
_LEAKED = ("POST", "/v1/keys/leaked")
_FORMS = ("GET", "/v1/forms")
_ENVIRONMENTS = ("GET", "/v1/environments")
_LIST = "/api-keys"
_ONE = "/api-keys/{key_id}"
_FORMS_LISTED = 100
GRACE_HOURS = 24
# What a key of each right can be tried with.
_FIRST_CALLS = {
    "forms:read": "/v1/forms",
    "submissions:read": "/v1/submissions",
    "webhooks:read": "/v1/webhooks",
    "usage:read": "/v1/usage",
    "profile:read": "/v1/account",
    "keys:manage": "/v1/api-keys",
    "audit:read": "/v1/audit-log",
    "members:read": "/v1/members",
}


async def show_keys(visit: Visit) -> Response:
    keys = await visit.api.ask(ApiKeyList, *_KEYS, query=page_query(visit))
    return visit.render("key_list.html", keys=keys.data, **page_links(visit, keys.next_cursor))


async def show_new_key(visit: Visit) -> Response:
    visit.api.require(*_CREATE)
    return visit.render("key_new.html", **await _choices(visit, KeyForm()))


async def create_key(visit: Visit) -> Response:
    sent = KeyForm.sent(visit, visit.text("kind"))
    try:
        body = sent.new_key(visit.principal.rights, visit.services.clock.now_ms())
        created = await visit.api.ask(CreatedApiKey, *_CREATE, body=body)
    except Rejected as rejected:
        return visit.refused("key_new.html", rejected, **await _choices(visit, sent))
    return await _shown_once(visit, created)


async def show_key(visit: Visit) -> Response:
    key = await visit.api.ask(ApiKey, *_KEY, at=visit.path)
    return visit.render("key_detail.html", **await _detail(visit, key, KeyForm.of(key)))


async def change_key(visit: Visit) -> Response:
    key = await visit.api.ask(ApiKey, *_KEY, at=visit.path)
    sent = KeyForm.sent(visit, key.kind.value)
    try:
        changes = sent.changes(key, visit.principal.rights, visit.services.clock.now_ms())
        await visit.api.ask(ApiKey, *_CHANGE, at=visit.path, body=changes)
    except Rejected as rejected:
        context = await _detail(visit, key, sent)
        return visit.refused("key_detail.html", rejected, **context)
    return visit.go(f"{_LIST}/{key.id}", "saved")


async def show_rotation(visit: Visit) -> Response:
    key = await visit.api.ask(ApiKey, *_KEY, at=visit.path)
    return visit.render("key_rotate.html", key=key, hours=GRACE_HOURS, hours_max=GRACE_HOURS_MAX)


async def rotate_key(visit: Visit) -> Response:
    key = await visit.api.ask(ApiKey, *_KEY, at=visit.path)
    hours = visit.text("grace_hours")
    body = {"grace_hours": int(hours) if hours.isdecimal() and len(hours) < 5 else hours}
    try:
        created = await visit.api.ask(CreatedApiKey, *_ROTATE, at=visit.path, body=body)
    except Rejected as rejected:
        return visit.refused(
            "key_rotate.html", rejected, key=key, hours=hours, hours_max=GRACE_HOURS_MAX
        )
    return await _shown_once(visit, created, await visit.api.ask(ApiKey, *_KEY, at=visit.path))


async def show_revocation(visit: Visit) -> Response:
    key = await visit.api.ask(ApiKey, *_KEY, at=visit.path)
    return visit.render("key_revoke.html", key=key)


async def revoke_key(visit: Visit) -> Response:
    await visit.api.call(*_REVOKE, at=visit.path)
    return visit.go(_LIST, "key-revoked")


async def show_leak(visit: Visit) -> Response:
    return visit.render("key_leaked.html")


async def report_leak(visit: Visit) -> Response:
    try:
        await visit.api.ask(Accepted, *_LEAKED, body={"key": visit.text("key")})
    except Rejected as rejected:
        return visit.refused("key_leaked.html", rejected)
    return visit.go(_LIST, "leak-reported")


async def _choices(visit: Visit, values: KeyForm) -> dict[str, Any]:
    """What the fields of a key's form offer; ``values`` is how they are filled in."""
    environments = forms = None
    if visit.api.may(*_ENVIRONMENTS):
        environments = await visit.api.ask(EnvironmentList, *_ENVIRONMENTS)
    if visit.api.may(*_FORMS):
        forms = await visit.api.ask(FormList, *_FORMS, query={"limit": _FORMS_LISTED})
    listed = [(form.id, form.name) for form in forms.data] if forms else []
    known = {id for id, _ in listed}
    return {
        "values": values,
        "kinds": KINDS,
        "access": ACCESS,
        "ends": ENDS,
        "rights": groups_of(visit.principal.rights | values.scopes),
        "environments": sorted((each.name, each.name) for each in environments.data)
        if environments
        else [],
        "forms": listed + [(id, id) for id in values.allowed_forms if id not in known],
        "has_further_forms": forms is None or forms.next_cursor is not None,
    }


async def _detail(visit: Visit, key: ApiKey, values: KeyForm) -> dict[str, Any]:
    choices = await _choices(visit, values)
    return {
        **choices,
        "key": key,
        "is_own": key.created_by == visit.principal.user_id,
        "granted": groups_of(frozenset(key.scopes or ())),
        "form_names": dict(choices["forms"]),
        "ends": ENDS if key.expires_at is None else (AS_IT_IS, *ENDS),
    }


async def _shown_once(visit: Visit, key: CreatedApiKey, old: ApiKey | None = None) -> Response:
    """The page that alone shows a key in full; ``old`` is the one in whose place it was put."""
    return visit.render("key_shown.html", key=key, old=old, try_it=await _try_it(visit, key))


async def _try_it(visit: Visit, key: CreatedApiKey) -> str:
    """A command for a terminal that uses the key, ready to paste."""
    origin = visit.services.settings.public_origin()
    begin = f'curl -H "Authorization: Bearer {key.key}" \\\n  '
    paths = (
        path
        for right, path in _FIRST_CALLS.items()
        if key.kind.value == "management" and key.scopes is None or right in (key.scopes or ())
    )
    path = next(paths, None)
    if path is not None:
        return f"{begin}{origin}{path}"
    slug = "YOUR-FORM"
    if visit.api.may(*_FORMS):
        forms = (await visit.api.ask(FormList, *_FORMS)).data
        usable = (
            form for form in forms if key.allowed_forms is None or form.id in key.allowed_forms
        )
        slug = next((form.slug for form in usable), slug)
    return f"{begin}-d email=ada@example.com \\\n  {origin}/v1/f/{slug}"


_FIELDS = (_FORMS, _ENVIRONMENTS)
pages = (
    Page(method="GET", path=_LIST, handler=show_keys, uses=(_KEYS,)),
    Page(method="POST", path=_LIST, handler=create_key, uses=(_CREATE, *_FIELDS)),
    Page(method="GET", path="/api-keys/new", handler=show_new_key, uses=(_CREATE, *_FIELDS)),
    Page(method="GET", path="/api-keys/leaked", handler=show_leak),
    Page(method="POST", path="/api-keys/leaked", handler=report_leak, uses=(_LEAKED,)),
    Page(method="GET", path=_ONE, handler=show_key, uses=(_KEY, *_FIELDS)),
    Page(method="POST", path=_ONE, handler=change_key, uses=(_KEY, _CHANGE, *_FIELDS)),
    Page(method="GET", path=f"{_ONE}/rotate", handler=show_rotation, uses=(_KEY,)),
    Page(method="POST", path=f"{_ONE}/rotate", handler=rotate_key, uses=(_KEY, _ROTATE, _FORMS)),
    Page(method="GET", path=f"{_ONE}/revoke", handler=show_revocation, uses=(_KEY,)),
    Page(method="POST", path=f"{_ONE}/revoke", handler=revoke_key, uses=(_REVOKE,)),
)
