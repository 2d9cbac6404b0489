"""The first page: what came in, what went wrong, and who serves."""

from starlette.responses import Response

from backend.console.charts import outcomes_chart
from backend.console.form_names import FORMS, form_names
from backend.console.pages import Page
from backend.console.visits import Visit
from backend.gateways.routes import GatewayList
from backend.submissions.schemas import Submission, SubmissionList
from backend.usage.schemas import Usage, UsageDay, UsageDays
from backend.webhooks.schemas import WebhookList

_USAGE = ("GET", "/v1/usage")
_DAYS = ("GET", "/v1/usage/daily")
_SUBMISSIONS = ("GET", "/v1/submissions")
_WEBHOOKS = ("GET", "/v1/webhooks")
_GATEWAYS = ("GET", "/v1/gateways")
_NEWEST = 6
_FAILING = {"failing": "true", "limit": 100}
# Of failing webhooks, so many are named.
_NAMED = 3


async def show_overview(visit: Visit) -> Response:
    api = visit.api
    usage = await api.ask(Usage, *_USAGE) if api.may(*_USAGE) else None
    days = (await api.ask(UsageDays, *_DAYS)).data[::-1] if api.may(*_DAYS) else []
    newest: list[Submission] = []
    if api.may(*_SUBMISSIONS):
        newest = (await api.ask(SubmissionList, *_SUBMISSIONS, query={"limit": _NEWEST})).data
    failing = None
    if api.may(*_WEBHOOKS):
        failing = (await api.ask(WebhookList, *_WEBHOOKS, query=_FAILING)).data
    shown = {each.form_id for each in (*newest, *(failing or ())[:_NAMED])}
    gateways = await api.ask(GatewayList, *_GATEWAYS) if api.may(*_GATEWAYS) else None
    return visit.render(
        "overview.html",
        failing=failing,
        named=_NAMED,
        gateways=gateways.data if gateways else [],
        usage=usage,
        today=days[-1] if days else None,
        spam_percent=_spam_percent(days),
        chart=outcomes_chart(days) if days else None,
        form_names=await form_names(api, shown),
        newest=newest,
    )


def _spam_percent(days: list[UsageDay]) -> int:
    """Of what was stored, how many hundredths are spam."""
    spam = sum(day.spam for day in days)
    stored = spam + sum(day.submissions for day in days)
    return round(100 * spam / stored) if stored else 0


pages = (
    Page(
        method="GET",
        path="/overview",
        handler=show_overview,
        uses=(_USAGE, _DAYS, FORMS, _SUBMISSIONS, _WEBHOOKS, _GATEWAYS),
    ),
)
