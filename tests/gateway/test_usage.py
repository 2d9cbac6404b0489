"""What a gateway reports of posts that left no submission."""

from collections import Counter

import pytest
from structlog.testing import capture_logs

from contracts.forms import FormStatus
from contracts.outcomes import Outcome
from contracts.usage import UsageReport, day_of
from gateway.upstream import Upstream
from gateway.usage import UsageReporter
from tests.support.builders import NOW_MS, form_config
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

FIELDS = {"email": "ada@example.com"}

pytestmark = pytest.mark.asyncio


def reporter_of(backend: MiniBackend) -> UsageReporter:
    return UsageReporter(Upstream("http://backend", TOKEN, backend.transport()).report_usage)


def counted(reports: list[UsageReport]) -> Counter[tuple[str, str]]:
    """By account and name, with each session's every sequence taken once."""
    once = {(report.session, report.sequence): report for report in reports}
    total: Counter[tuple[str, str]] = Counter()
    for report in once.values():
        for count in report.counts:
            total[count.account_id, count.name] += count.count
    return total


async def test_replays_and_refusals_are_reported_by_account_and_reason() -> None:
    backend = MiniBackend(
        forms={
            "contact": form_config(rate_limit_per_minute=4),
            "paused": form_config(slug="paused", account_id="acc_2", status=FormStatus.PAUSED),
        }
    )
    async with running_gateway(backend) as gateway:
        key = {"Idempotency-Key": "order-1"}
        path = "/v1/f/contact"
        answers = [
            await gateway.post(path, data=FIELDS, headers=key),
            await gateway.post(path, data=FIELDS, headers=key),
            await gateway.post(path, data=FIELDS | {"_gotcha": "spam"}),
            await gateway.post(path, content=b"{", headers={"content-type": "application/json"}),
            await gateway.post(path, data=FIELDS),
            await gateway.post("/v1/f/paused", data=FIELDS),
            await gateway.post("/v1/f/nobodys", data=FIELDS),
            await gateway.get(path),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400, 429, 403, 404, 405]
    assert counted(backend.reports) == {
        ("acc_1", "replayed"): 1,
        ("acc_1", "bad-body"): 1,
        ("acc_1", "rate-limited"): 1,
        ("acc_2", "form-not-live"): 1,
    }


async def test_only_what_left_no_submission_is_counted() -> None:
    backend = MiniBackend()
    reporter = reporter_of(backend)
    for outcome in Outcome:
        reporter.count("acc_1", NOW_MS, outcome)
    await reporter.finish()
    names = {name for _, name in counted(backend.reports)}
    assert {outcome.value for outcome in Outcome} - names == {
        "stored",
        "spam",
        "held",
        "queued",
        "disconnected",
    }
    assert {count.day for count in backend.reports[0].counts} == {day_of(NOW_MS)}


async def test_a_report_whose_answer_was_lost_is_sent_again_as_it_was() -> None:
    backend = MiniBackend(drops_reports=1)
    reporter = reporter_of(backend)
    reporter.count("acc_1", NOW_MS, Outcome.RATE_LIMITED)
    await reporter.finish()
    reporter.count("acc_1", NOW_MS, Outcome.RATE_LIMITED)
    await reporter.finish()
    first, again, second = backend.reports
    assert first == again
    assert (first.sequence, second.sequence) == (1, 2)
    assert counted(backend.reports) == {("acc_1", "rate-limited"): 2}


async def test_nothing_is_lost_while_the_backend_is_away() -> None:
    backend = MiniBackend(is_down=True)
    reporter = reporter_of(backend)
    for _ in range(3):
        reporter.count("acc_1", NOW_MS, Outcome.UNAVAILABLE)
        await reporter.finish()
    backend.is_down = False
    await reporter.finish()
    assert counted(backend.reports) == {("acc_1", "unavailable"): 3}


async def test_nothing_is_sent_when_nothing_happened() -> None:
    backend = MiniBackend()
    await reporter_of(backend).finish()
    assert backend.reports == []


async def test_an_older_backend_is_noticed_once_and_its_successor_told() -> None:
    backend = MiniBackend(takes_reports=False)
    with capture_logs() as lines:
        reporter = reporter_of(backend)
        for _ in range(3):
            reporter.count("acc_1", NOW_MS, Outcome.REPLAYED)
            await reporter.finish()
        backend.takes_reports = True
        await reporter.finish()
    assert counted(backend.reports) == {("acc_1", "replayed"): 3}
    assert ["older version" in line["event"] for line in lines] == [True]
