"""The lists: of all forms, and of one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from backend.console.form_names import FORMS, form_names
from backend.console.pages import Page
from backend.console.submissions.arrivals import ADDED_MAX, PATH, Watch
from backend.console.submissions.listing import TABS, Listing, address
from backend.console.submissions.operations import FORM, OF_ALL, OF_FORM
from backend.console.submissions.texts import Line, line_of
from backend.console.visits import Visit
from backend.forms.documents import Form, FormList
from backend.submissions.schemas import BulkReport, Submission, SubmissionList
from contracts.problems import Rejected

_BULK = ("POST", "/v1/submissions/bulk")
_TEMPLATE = "submission_list.html"
_AT_ONCE = 50
_FORMS_MAX = 100
_DELETE = "delete"
# What an action is called, and what is said when it is done.
_ACTIONS: Mapping[str, str] = MappingProxyType(
    {
        "mark_read": "marked-read",
        "mark_unread": "marked-unread",
        "mark_spam": "marked-spam",
        "mark_received": "marked-received",
        _DELETE: "submissions-deleted",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A submission as a list shows it."""

    submission: Submission
    line: Line
    form_name: str


async def show_list(visit: Visit) -> Response:
    visit.api.require(*OF_ALL)
    listing = Listing.of(visit)
    if listing.form_id == visit.path.get("form_id", ""):
        response = await _shown(visit, listing)
        # The address of what a filter found, without those that say nothing.
        response.headers["HX-Push-Url"] = listing.url
        return response
    if visit.is_partial:
        return Response(headers={"HX-Redirect": listing.url})
    return visit.go(listing.path, **listing.query)


async def _shown(visit: Visit, listing: Listing) -> Response:
    context = await _frame(visit, listing)
    cursor = visit.query.get("cursor", "")
    try:
        found = await _find(visit, listing, listing.asked | ({"cursor": cursor} if cursor else {}))
    except Rejected as rejected:
        return visit.refused(
            _TEMPLATE, rejected, entries=[], watch=None, next_url=None, first_url=None, **context
        )
    is_watched = not cursor and not listing.until
    now_ms = visit.services.clock.now_ms()
    query, next_cursor = listing.query, found.next_cursor
    return visit.render(
        _TEMPLATE,
        entries=await _entries(visit, found.data, context["names"]),
        watch=Watch.begun(listing, found.data, now_ms) if is_watched else None,
        next_url=address(listing.path, query | {"cursor": next_cursor}) if next_cursor else None,
        first_url=listing.url if cursor else None,
        **context,
    )


async def _frame(visit: Visit, listing: Listing) -> dict[str, Any]:
    """What stands around the list."""
    form, forms = None, list[Form]()
    if listing.form_id:
        if visit.api.may(*FORM):
            form = await visit.api.ask(Form, *FORM, at={"form_id": listing.form_id})
    elif visit.api.may(*FORMS):
        forms = (await visit.api.ask(FormList, *FORMS, query={"limit": _FORMS_MAX})).data
    return {
        "listing": listing,
        "tabs": TABS,
        "form": form,
        "forms": forms,
        "names": {each.id: each.name for each in ([form] if form else forms)},
    }


async def show_newer(visit: Visit) -> Response:
    listing = Listing.of(visit)
    if not visit.is_partial:
        return visit.go(listing.path, **listing.query)
    watch = Watch.of(listing, visit.query)
    found = await _find(visit, listing, watch.asked)
    new = [submission for submission in found.data if submission.id not in watch.seen]
    if not new:
        return Response(status_code=204)
    has_gap = found.next_cursor is not None and len(new) == len(found.data)
    watch = watch.after(found.data, len(new))
    is_full = has_gap or watch.added > ADDED_MAX
    return visit.render(
        "submission_newer.html",
        entries=[] if is_full else await _entries(visit, new, {}),
        watch=watch,
        is_full=is_full,
        listing=listing,
    )


async def _find(visit: Visit, listing: Listing, query: Mapping[str, Any]) -> SubmissionList:
    at, query = {}, {**query, "limit": _AT_ONCE}
    operation = OF_ALL
    if listing.form_id:
        at, operation = {"form_id": listing.form_id}, OF_FORM
    return await visit.api.ask(SubmissionList, *operation, at=at, query=query)


async def _entries(
    visit: Visit, submissions: Iterable[Submission], names: Mapping[str, str]
) -> Sequence[Entry]:
    submissions = list(submissions)
    missing = {submission.form_id for submission in submissions} - names.keys()
    if missing:
        names = {**names, **await form_names(visit.api, missing)}
    return [
        Entry(each, line_of(each.payload), names.get(each.form_id, each.form_id))
        for each in submissions
    ]


async def change_list(visit: Visit) -> Response:
    """Does something with those that are ticked; what cannot be undone is asked first."""
    listing = Listing.of(visit)
    action, ids = visit.text("action"), visit.form.getlist("ids")
    query = listing.query
    if not ids:
        return visit.go(listing.path, "none-ticked", **query)
    if action == _DELETE and not visit.text("confirmed"):
        visit.api.require(*_BULK)
        return visit.render("submission_delete_many.html", listing=listing, ids=ids)
    done = await visit.api.ask(BulkReport, *_BULK, body={"action": action, "ids": ids})
    return visit.go(listing.path, _ACTIONS[action], **query, count=str(done.done))


_READING = (OF_ALL, OF_FORM, FORM, FORMS)

pages = (
    Page(method="GET", path="/submissions", handler=show_list, uses=_READING),
    Page(method="POST", path="/submissions", handler=change_list, uses=(_BULK,)),
    Page(method="GET", path=PATH, handler=show_newer, uses=_READING),
    Page(method="GET", path="/forms/{form_id}/submissions", handler=show_list, uses=_READING),
    Page(method="POST", path="/forms/{form_id}/submissions", handler=change_list, uses=(_BULK,)),
)
