"""The months of a quota are those of UTC, wherever the host is."""

import os
import subprocess
import sys
from datetime import datetime

import pytest

from backend.usage.months import end_of_month, month_of

EDGES = [
    ("2026-11-21T12:00:00+00:00", "2026-11", "2026-12-01T00:00:00+00:00"),
    ("2028-02-28T23:59:59.999+00:00", "2028-02", "2028-03-01T00:00:00+00:00"),
    ("2028-02-29T00:00:00+00:00", "2028-02", "2028-03-01T00:00:00+00:00"),
    ("2028-02-29T23:59:59.999+00:00", "2028-02", "2028-03-01T00:00:00+00:00"),
    ("2027-02-28T23:59:59.999+00:00", "2027-02", "2027-03-01T00:00:00+00:00"),
    ("2100-02-28T23:59:59.999+00:00", "2100-02", "2100-03-01T00:00:00+00:00"),
    ("2026-12-31T23:59:59.999+00:00", "2026-12", "2027-01-01T00:00:00+00:00"),
    ("2027-01-01T00:00:00+00:00", "2027-01", "2027-02-01T00:00:00+00:00"),
    # The 1st in UTC, and the last of the month before in New York; and the other way round.
    ("2026-10-31T23:30:00-04:00", "2026-11", "2026-12-01T00:00:00+00:00"),
    ("2026-11-30T23:59:59-05:00", "2026-12", "2027-01-01T00:00:00+00:00"),
    # New York's clocks go forward at the one and back at the other; a month has such a day in it.
    ("2026-03-08T02:59:59-05:00", "2026-03", "2026-04-01T00:00:00+00:00"),
    ("2026-03-08T04:00:00-04:00", "2026-03", "2026-04-01T00:00:00+00:00"),
    ("2026-11-01T01:30:00-04:00", "2026-11", "2026-12-01T00:00:00+00:00"),
    ("2026-11-01T01:30:00-05:00", "2026-11", "2026-12-01T00:00:00+00:00"),
]
# Rules that need no database of time zones: New York's, and the first place of a new day.
ZONES = ["UTC0", "EST5EDT,M3.2.0,M11.1.0", "LINT-14"]


def unix_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(("at", "month", "end"), EDGES)
def test_a_month_and_its_end(at: str, month: str, end: str) -> None:
    assert (month_of(unix_ms(at)), end_of_month(unix_ms(at))) == (month, unix_ms(end))


@pytest.mark.parametrize(("at", "month", "end"), EDGES)
def test_a_month_ends_as_the_next_one_begins(at: str, month: str, end: str) -> None:
    assert month_of(unix_ms(end) - 1) == month
    assert month_of(unix_ms(end)) > month


@pytest.mark.parametrize("zone", ZONES)
def test_the_time_zone_of_the_host_does_not_matter(zone: str) -> None:
    program = (
        "import sys; from backend.usage.months import end_of_month, month_of\n"
        "for at in map(int, sys.argv[1:]): print(month_of(at), end_of_month(at))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(str(unix_ms(at)) for at, _, _ in EDGES)],
        env=os.environ | {"TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    )
    expected = [f"{month} {unix_ms(end)}" for _, month, end in EDGES]
    assert done.stdout.splitlines() == expected
