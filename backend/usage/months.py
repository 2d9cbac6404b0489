"""Months in UTC: the span of a quota."""

from datetime import UTC, datetime


def month_of(now_ms: int) -> str:
    """The calendar month of an instant: ``2026-06``."""
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m}"


def end_of_month(now_ms: int) -> int:
    """When the month of an instant ends and its quota starts anew, in Unix milliseconds."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
