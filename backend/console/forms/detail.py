"""One form: what comes in, how to post to it, and what can be done with all of it."""

from datetime import date
from typing import Any

from starlette.responses import Response

from backend.console.charts import Chart, Series, short_day
from backend.console.forms.operations import CHANGE, DELETE, DUPLICATE, FORM
from backend.console.forms.snippets import probe_line, snippets_of
from backend.console.pages import Page
from backend.console.visits import Visit
from backend.forms.documents import Form
from backend.probes.routes import ProbePost
from backend.submissions.schemas import SubmissionCount, SubmissionList
from backend.usage.schemas import UsageDay, UsageDays
from backend.webhooks.schemas import WebhookList
from contracts.problems import Rejected
from contracts.usage import day_of

_DAYS = ("GET", "/v1/usage/daily")
_SUBMISSIONS = ("GET", "/v1/forms/{form_id}/submissions")
_COUNT = ("GET", "/v1/forms/{form_id}/submissions/count")
_PROBE = ("POST", "/v1/forms/{form_id}/probe")
_WEBHOOKS = ("GET", "/v1/forms/{form_id}/webhooks")
_ONE = "/forms/{form_id}"
_NEWEST = 6
_WEBHOOKS_SHOWN = 5
_NO_CONTENT = 204


async def show_form(visit: Visit) -> Response:
    api = visit.api
    form = await api.ask(Form, *FORM, at=visit.path)
    webhooks = None
    if api.may(*_WEBHOOKS):
        query = {"limit": _WEBHOOKS_SHOWN}
        listed = await api.ask(WebhookList, *_WEBHOOKS, at=visit.path, query=query)
        webhooks = listed.data
    activity = await _activity(visit, form.id)
    settings = visit.services.settings
    address = f"{settings.public_origin()}/v1/f/{form.slug}"
    site_key = form.turnstile_site_key or settings.turnstile_site_key
    today = date.fromisoformat(day_of(visit.services.clock.now_ms()))
    return visit.render(
        "form_detail.html",
        form=form,
        address=address,
        snippets=snippets_of(form, address, site_key, today),
        lacks_site_key=form.turnstile_enabled and site_key is None,
        webhooks=webhooks,
        may_change=api.may(*CHANGE),
        **activity,
    )


async def show_activity(visit: Visit) -> Response:
    """The part of the page that changes by itself; nothing while it has not."""
    form = await visit.api.ask(Form, *FORM, at=visit.path)
    activity = await _activity(visit, form.id)
    if visit.query.get("state") == activity["state"]:
        return Response(status_code=_NO_CONTENT)
    return visit.render("form_activity.html", form=form, **activity)


async def change_status(visit: Visit) -> Response:
    status = visit.text("status")
    await visit.api.ask(Form, *CHANGE, at=visit.path, body={"status": status})
    return visit.go(f"/forms/{visit.path['form_id']}", f"form-{status}")


async def prepare_probe(visit: Visit) -> Response:
    """Shows the line that posts a probe; its token is shown on this page alone."""
    probe = await visit.api.ask(ProbePost, *_PROBE, at=visit.path)
    form = await visit.api.ask(Form, *FORM, at=visit.path)
    line = probe_line(probe, visit.services.settings.public_origin())
    return visit.render("form_probe.html", form=form, line=line, expires_at=probe.expires_at)


async def show_duplication(visit: Visit) -> Response:
    visit.api.require(*DUPLICATE)
    form = await visit.api.ask(Form, *FORM, at=visit.path)
    return visit.render("form_duplicate.html", form=form, name="", slug="")


async def duplicate_form(visit: Visit) -> Response:
    named = {name: text for name in ("name", "slug") if (text := visit.text(name))}
    try:
        copy = await visit.api.ask(Form, *DUPLICATE, at=visit.path, body=named)
    except Rejected as rejected:
        form = await visit.api.ask(Form, *FORM, at=visit.path)
        values = {"name": "", "slug": ""} | named
        return visit.refused("form_duplicate.html", rejected, form=form, **values)
    return visit.go(f"/forms/{copy.id}", "form-duplicated")


async def show_deletion(visit: Visit) -> Response:
    visit.api.require(*DELETE)
    form = await visit.api.ask(Form, *FORM, at=visit.path)
    count = None
    if visit.api.may(*_COUNT):
        count = await visit.api.ask(SubmissionCount, *_COUNT, at=visit.path)
    return visit.render("form_delete.html", form=form, count=count)


async def delete_form(visit: Visit) -> Response:
    await visit.api.call(*DELETE, at=visit.path)
    return visit.go("/forms", "form-deleted")


async def _activity(visit: Visit, form_id: str) -> dict[str, Any]:
    """What came in lately; ``state`` is another one whenever more has."""
    api, days, newest = visit.api, [], []
    if api.may(*_DAYS):
        days = (await api.ask(UsageDays, *_DAYS, query={"form_id": form_id})).data[::-1]
    if api.may(*_SUBMISSIONS):
        query = {"limit": _NEWEST, "status": "all"}
        at = {"form_id": form_id}
        newest = (await api.ask(SubmissionList, *_SUBMISSIONS, at=at, query=query)).data
    received, spam = sum(map(_received, days)), sum(day.spam for day in days)
    newest_id = newest[0].id if newest else ""
    return {
        "newest": newest,
        "may_read": api.may(*_SUBMISSIONS),
        "seen": visit.query.get("state", "").rpartition("-")[2],
        "state": f"{received}-{spam}-{newest_id}",
        "today": _received(days[-1]) if days else None,
        "received": received,
        "spam": spam,
        "chart": _chart(days) if received + spam else None,
    }


def _received(day: UsageDay) -> int:
    """What visitors sent on a day, spam apart; a form in test mode counts what it gets as tests."""
    return day.submissions + day.test


def _chart(days: list[UsageDay]) -> Chart:
    return Chart(
        labels=[short_day(day.date) for day in days],
        series=[
            Series("stored", "Received", [_received(day) - day.held for day in days]),
            Series("held", "Held", [day.held for day in days]),
            Series("spam", "Spam", [day.spam for day in days]),
        ],
    )


_COPYING = (FORM, DUPLICATE)
_ACTIVITY = (FORM, _DAYS, _SUBMISSIONS)
pages = (
    Page(method="GET", path=_ONE, handler=show_form, uses=(*_ACTIVITY, _WEBHOOKS, CHANGE)),
    Page(method="GET", path=f"{_ONE}/activity", handler=show_activity, uses=_ACTIVITY),
    Page(method="POST", path=f"{_ONE}/status", handler=change_status, uses=(CHANGE,)),
    Page(method="POST", path=f"{_ONE}/probe", handler=prepare_probe, uses=(FORM, _PROBE)),
    Page(method="GET", path=f"{_ONE}/duplicate", handler=show_duplication, uses=_COPYING),
    Page(method="POST", path=f"{_ONE}/duplicate", handler=duplicate_form, uses=_COPYING),
    Page(method="GET", path=f"{_ONE}/delete", handler=show_deletion, uses=(FORM, DELETE, _COUNT)),
    Page(method="POST", path=f"{_ONE}/delete", handler=delete_form, uses=(DELETE,)),
)
