from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import internal
from contracts.usage import REPORT_COUNTS_MAX, Count, UsageCounts, UsageReport, day_of

DAY_MS = 24 * 3600 * 1000


def test_a_day_is_one_of_utc() -> None:
    assert [day_of(ms) for ms in (0, DAY_MS - 1, DAY_MS, -1)] == [
        "1970-01-01",
        "1970-01-01",
        "1970-01-02",
        "1969-12-31",
    ]
    assert day_of(1_780_000_000_000) == "2026-05-28"


@given(st.lists(st.sampled_from(["add", "send", "send, answer lost"])))
def test_every_event_is_counted_once_by_whoever_keeps_the_last_sequence(steps: list[str]) -> None:
    counts = UsageCounts("session")
    added = 0
    counted: Counter[str] = Counter()
    last = 0
    for step in [*steps, "send", "send"]:
        if step == "add":
            added += 1
            counts.add("acc_1", added * DAY_MS, "replayed")
            continue
        report = counts.report()
        if report is None:
            continue
        if report.sequence > last:
            last = report.sequence
            counted.update({count.day: count.count for count in report.counts})
        if step == "send":
            counts.acknowledge()
    assert counts.report() is None
    assert counted == {day_of(number * DAY_MS): 1 for number in range(1, added + 1)}


def test_a_report_is_bounded_and_the_rest_is_in_the_next() -> None:
    counts = UsageCounts("session")
    for number in range(REPORT_COUNTS_MAX + 1):
        counts.add(f"acc_{number}", 0, "replayed")
    first = counts.report()
    assert first is not None
    assert len(first.counts) == REPORT_COUNTS_MAX
    counts.acknowledge()
    second = counts.report()
    assert second is not None
    assert (second.sequence, len(second.counts)) == (2, 1)


def test_a_report_travels_as_it_is() -> None:
    report = UsageReport("gw_1", 7, (Count("acc_1", "2026-06-30", "rate-limited", 3),))
    assert internal.decode_usage_report(internal.encode_usage_report(report)) == report


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"session":"s","sequence":1,"counts":[{"account_id":"a","day":"today","name":"n","count":1}]}',
        b'{"session":"s","sequence":1,"counts":[{"account_id":"a","day":"2026-06-30","name":"n","count":0}]}',
    ],
)
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(internal.UndecodableMessage):
        internal.decode_usage_report(body)
