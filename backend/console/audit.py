"""The audit log: who did what to what, from where and when; and its export."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from backend.audit.schemas import Event, EventList
from backend.console.audit_words import Sentence, action_choices, sentence_of
from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.visits import Visit
from backend.forms.documents import FormList
from backend.keys.schemas import ApiKeyList
from backend.members.schemas import MemberList
from contracts.problems import Rejected

_EVENTS = ("GET", "/v1/audit-log")
_EVENT = ("GET", "/v1/audit-log/{event_id}")
_CSV = ("GET", "/v1/audit-log.csv")
_JSON = ("GET", "/v1/audit-log.json")
_FORMS = ("GET", "/v1/forms")
_KEYS = ("GET", "/v1/api-keys")
_MEMBERS = ("GET", "/v1/members")
_NAMES = (_FORMS, _KEYS, _MEMBERS)
_NAMED = 100
_FILTERS = ("actor", "action", "target", "outcome", "since", "until")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_OTHERS = (
    ("operator", "The operator at the command line"),
    ("system", "FormFlow itself"),
    ("anonymous", "Somebody unknown"),
)
_OUTCOMES = (("", "Any"), ("succeeded", "Succeeded"), ("refused", "Refused"))


async def show_events(visit: Visit) -> Response:
    chosen = {name: visit.query.get(name, "").strip() for name in _FILTERS}
    names = await _names(visit)
    context: dict[str, Any] = {
        "chosen": chosen,
        "query": urlencode({name: value for name, value in chosen.items() if value}),
        "actors": _actors(names, chosen["actor"]),
        "actions": action_choices(),
        "outcomes": _OUTCOMES,
    }
    try:
        query = page_query(visit, **_asked(chosen))
        events = await visit.api.ask(EventList, *_EVENTS, query=query)
    except Rejected as rejected:
        context |= {"events": [], "next_url": None, "first_url": None}
        return visit.refused("audit_list.html", rejected, **context)
    shown = _shown(events.data, names)
    links = page_links(visit, events.next_cursor, **chosen)
    return visit.render("audit_list.html", events=shown, **links, **context)


async def show_event(visit: Visit) -> Response:
    event = await visit.api.ask(Event, *_EVENT, at=visit.path)
    [(event, sentence)] = _shown([event], await _names(visit))
    details = orjson.dumps(event.details, option=orjson.OPT_INDENT_2).decode()
    return visit.render("audit_event.html", event=event, sentence=sentence, details=details)


async def export_events(visit: Visit) -> Response:
    chosen = {name: visit.query.get(name, "").strip() for name in _FILTERS}
    query = {name: value for name, value in _asked(chosen).items() if value}
    operation = _JSON if visit.query.get("format") == "json" else _CSV
    answer = await visit.api.call(*operation, query=query)
    if not isinstance(answer, Response):
        raise TypeError("an export is a response")
    return answer


def _asked(chosen: Mapping[str, str]) -> dict[str, str]:
    """The filters as the API has them: from the beginning of a day, to the end of one, in UTC."""
    asked = {name: chosen[name] for name in ("actor", "action", "target", "outcome")}
    for name, time in (("since", "00:00:00"), ("until", "23:59:59.999")):
        day = chosen[name]
        asked[name] = f"{day}T{time}Z" if _DAY.fullmatch(day) else day
    return asked


async def _names(visit: Visit) -> dict[str, str]:
    """What forms, keys and members are called, by their ids: those of them that are newest, as far
    as the visitor may see them."""
    api, query = visit.api, {"limit": _NAMED}
    names: dict[str, str] = {}
    if api.may(*_FORMS):
        forms = await api.ask(FormList, *_FORMS, query=query)
        names |= {form.id: form.name for form in forms.data}
    if api.may(*_KEYS):
        keys = await api.ask(ApiKeyList, *_KEYS, query=query)
        names |= {key.id: key.name for key in keys.data}
    if api.may(*_MEMBERS):
        members = await api.ask(MemberList, *_MEMBERS, query=query)
        names |= {member.id: member.email for member in members.data}
    return names


def _actors(names: Mapping[str, str], chosen: str) -> list[tuple[str, str]]:
    people = [(id, name) for id, name in names.items() if id.startswith("usr_")]
    keys = [(id, f"Key “{name}”") for id, name in names.items() if id.startswith("key_")]
    known = [("", "Anybody"), *people, *keys, *_OTHERS]
    return known if chosen in dict(known) else [*known, (chosen, chosen)]


def _shown(events: Sequence[Event], names: Mapping[str, str]) -> list[tuple[Event, Sentence]]:
    return [(event, sentence_of(event, names)) for event in events]


pages = (
    Page(method="GET", path="/audit-log", handler=show_events, uses=(_EVENTS, *_NAMES)),
    Page(method="GET", path="/audit-log/export", handler=export_events, uses=(_CSV, _JSON)),
    Page(method="GET", path="/audit-log/{event_id}", handler=show_event, uses=(_EVENT, *_NAMES)),
)
