"""One submission: what it says, how it came to be where it is, and what can be done with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from backend.console.pages import Page
from backend.console.rendering import SECURITY_HEADERS
from backend.console.submissions.listing import Listing
from backend.console.submissions.operations import (
    CHANGE,
    DELETE,
    FORM,
    REPLAY,
    SUBMISSION,
    WEBHOOKS,
)
from backend.console.submissions.story import (
    is_moving,
    pause_of,
    sendings_of,
    state_of,
    steps_of,
)
from backend.console.submissions.texts import (
    Piece,
    email_of,
    line_of,
    mail_link,
    pieces_of,
    web_link,
)
from backend.console.visits import Visit
from backend.delivery.schemas import Delivery
from backend.forms.documents import Form
from backend.imports.service import IMPORTED
from backend.keys.schemas import ApiKey
from backend.submissions.schemas import Neighbours, Submission
from backend.webhooks.schemas import Webhook, WebhookList
from contracts.problems import Problem, Rejected

_NEIGHBOURS = ("GET", "/v1/submissions/{submission_id}/neighbours")
_KEY = ("GET", "/v1/api-keys/{key_id}")
_FILE = ("GET", "/v1/submissions/{submission_id}/files/{file_id}")
_ADD_FILE = ("POST", "/v1/submissions/{submission_id}/files")
_PATH = "/submissions/{submission_id}"
_WEBHOOKS_MAX = 100
# htmx asks no more after this one.
_STOP_POLLING = 286
_NO_CONTENT = 204
# What each button changes, and what is said when it is done.
_MARKS: Mapping[str, tuple[Mapping[str, Any], str]] = MappingProxyType(
    {
        "mark_spam": ({"status": "spam"}, "submission-spam"),
        "mark_received": ({"status": "received"}, "submission-received"),
        "mark_read": ({"read": True}, "saved"),
        "mark_unread": ({"read": False}, "submission-unread"),
    }
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A field: each of its values in pieces."""

    name: str
    values: Sequence[Sequence[Piece]]


async def show_submission(visit: Visit) -> Response:
    listing, submission = Listing.of(visit), await _submission(visit)
    form = None
    if visit.api.may(*FORM):
        form = await visit.api.ask(Form, *FORM, at={"form_id": submission.form_id})
    email = email_of(submission.payload)
    referrer = str(submission.meta.get("referrer", ""))
    return visit.render(
        "submission_show.html",
        submission=submission,
        listing=listing,
        form=form,
        line=line_of(submission.payload),
        reply=mail_link(email, f"Re: {form.name}" if form else "") if email else None,
        fields=[_shown(name, value) for name, value in submission.payload.items()],
        referrer=web_link(referrer) if referrer else None,
        key_name=await _key_name(visit, submission),
        steps=steps_of(submission),
        may_add_file=visit.api.may(*_ADD_FILE) and _is_imported(submission),
        neighbours=await _neighbours(visit, listing),
        **await _way_out(visit, submission),
    )


def _is_imported(submission: Submission) -> bool:
    """Whether it came from another service, and may be given the files that it had there."""
    return any(row.check == IMPORTED for row in submission.trace.checks)


def _shown(name: str, value: Any) -> Shown:
    values = value if isinstance(value, list) else [value]
    return Shown(name, [pieces_of(str(each)) for each in values])


async def _submission(visit: Visit) -> Submission:
    return await visit.api.ask(Submission, *SUBMISSION, at=_at(visit))


def _at(visit: Visit) -> dict[str, str]:
    return {"submission_id": visit.path["submission_id"]}


async def _neighbours(visit: Visit, listing: Listing) -> Neighbours:
    """What comes before and after it in the list; a search has no neighbours of its own, and those
    of the list without it are shown."""
    query = listing.asked | ({"form_id": listing.form_id} if listing.form_id else {})
    query.pop("q", None)
    return await visit.api.ask(Neighbours, *_NEIGHBOURS, at=_at(visit), query=query)


async def _key_name(visit: Visit, submission: Submission) -> str | None:
    """What the key is called that posted it; its id if that is all there is to know."""
    id = submission.meta.get("key_id")
    if id is None or not visit.api.may(*_KEY):
        return id
    try:
        return (await visit.api.ask(ApiKey, *_KEY, at={"key_id": str(id)})).name
    except Rejected as rejected:
        if rejected.problem is not Problem.NOT_FOUND:
            raise
        return str(id)


async def _way_out(visit: Visit, submission: Submission) -> dict[str, Any]:
    sendings = sendings_of(submission, await _webhooks(visit, submission))
    return {
        "sendings": sendings,
        "is_moving": is_moving(submission),
        "pause": pause_of(submission),
        "state": state_of(submission),
        "may_replay": visit.api.may(*REPLAY),
    }


async def _webhooks(visit: Visit, submission: Submission) -> dict[str, Webhook]:
    if not visit.api.may(*WEBHOOKS) or not submission.deliveries:
        return {}
    at, query = {"form_id": submission.form_id}, {"limit": _WEBHOOKS_MAX}
    found = await visit.api.ask(WebhookList, *WEBHOOKS, at=at, query=query)
    return {webhook.id: webhook for webhook in found.data}


async def show_way_out(visit: Visit) -> Response:
    """What goes out, as it is by now."""
    if not visit.is_partial:
        return _back(visit)
    submission = await _submission(visit)
    return visit.render(
        "submission_way_out.html",
        200 if is_moving(submission) else _STOP_POLLING,
        submission=submission,
        listing=Listing.of(visit),
        **await _way_out(visit, submission),
    )


async def change_submission(visit: Visit) -> Response:
    """Marks it. Whoever marks it as not read does so for later, and goes back to the list."""
    action = visit.text("action")
    if action not in _MARKS:
        raise Rejected(Problem.BAD_BODY, "That is not a form of ours.")
    changes, notice = _MARKS[action]
    changed = await visit.api.ask(Submission, *CHANGE, at=_at(visit), body=changes)
    listing = Listing.of(visit)
    if visit.is_partial:
        return visit.render("submission_was_read.html", submission=changed, listing=listing)
    if action == "mark_unread":
        return visit.go(listing.path, notice, **listing.query)
    return _back(visit, notice)


async def ask_deletion(visit: Visit) -> Response:
    visit.api.require(*DELETE)
    submission = await _submission(visit)
    line = line_of(submission.payload)
    return visit.render(
        "submission_delete.html", submission=submission, line=line, listing=Listing.of(visit)
    )


async def delete_submission(visit: Visit) -> Response:
    await visit.api.call(*DELETE, at=_at(visit))
    listing = Listing.of(visit)
    return visit.go(listing.path, "deleted", **listing.query)


async def replay(visit: Visit) -> Response:
    at = {"delivery_id": visit.path["delivery_id"]}
    await visit.api.ask(Delivery, *REPLAY, at=at)
    return _back(visit, "sent-again")


async def add_file(visit: Visit) -> Response:
    """Stores a file of an imported submission; the script that sent it shows the page again."""
    await visit.api.call(*_ADD_FILE, at=visit.path, query=dict(visit.query), content=visit.content)
    return Response(status_code=_NO_CONTENT, headers=SECURITY_HEADERS)


async def get_file(visit: Visit) -> Response:
    """A file, with the session instead of a link that ends."""
    found = await visit.api.call(*_FILE, at=visit.path)
    if not isinstance(found, Response):
        raise TypeError("a file is a response")
    found.headers["Cache-Control"] = "no-store"
    return found


def _back(visit: Visit, notice: str | None = None) -> Response:
    id, context = visit.path["submission_id"], Listing.of(visit).context
    return visit.go(f"/submissions/{id}", notice, **context)


pages = (
    Page(
        method="GET",
        path=_PATH,
        handler=show_submission,
        uses=(SUBMISSION, FORM, WEBHOOKS, _KEY, _NEIGHBOURS, REPLAY, _ADD_FILE),
    ),
    Page(method="POST", path=_PATH, handler=change_submission, uses=(CHANGE,)),
    Page(
        method="GET",
        path=f"{_PATH}/deliveries",
        handler=show_way_out,
        uses=(SUBMISSION, WEBHOOKS, REPLAY),
    ),
    Page(
        method="POST",
        path=f"{_PATH}/deliveries/{{delivery_id}}/replay",
        handler=replay,
        uses=(REPLAY,),
    ),
    Page(method="GET", path=f"{_PATH}/delete", handler=ask_deletion, uses=(SUBMISSION, DELETE)),
    Page(method="POST", path=f"{_PATH}/delete", handler=delete_submission, uses=(DELETE,)),
    Page(method="GET", path=f"{_PATH}/files/{{file_id}}", handler=get_file, uses=(_FILE,)),
    Page(
        method="POST",
        path=f"{_PATH}/files",
        handler=add_file,
        uses=(_ADD_FILE,),
        takes_content=True,
    ),
)
