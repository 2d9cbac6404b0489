"""Looks for forms that have fallen silent, and tells their owners once of each silence."""

from collections.abc import Iterator, Sequence
from datetime import date

from backend.db import Database
from backend.delivery.attempts import FORM_SILENT
from backend.delivery.outbox import add_notice
from backend.silence import store
from backend.silence.rules import (
    HISTORY_DAYS,
    QUIET_DAYS,
    QUIET_DAYS_MAX,
    find_silence,
)
from backend.silence.store import QuietForm
from contracts.runtime.clock import Clock, iso
from contracts.usage import day_of

INTERVAL_SECONDS = 3600.0
_DAY_MS = 24 * 3600 * 1000
_FORMS_AT_ONCE = 100
_EPOCH = date(1970, 1, 1).toordinal()


class SilenceAlarm:
    """The hourly job. Several backends may run it at once: the note that a silence was told of
    decides who tells."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._next_at = float("-inf")

    async def sweep(self) -> None:
        """Checks if the last whole check is an hour back. Raises Rejected(UNAVAILABLE)."""
        now = self._clock.monotonic()
        if now >= self._next_at:
            await self.check()
            self._next_at = now + INTERVAL_SECONDS

    async def check(self) -> None:
        """Tells of every form that has fallen silent since it received last. Raises
        Rejected(UNAVAILABLE)."""
        now_ms = self._clock.now_ms()
        today = _ordinal(day_of(now_ms))
        first_day = _day(today - QUIET_DAYS_MAX - HISTORY_DAYS)
        async with self._database.read() as connection:
            quiet = await store.quiet_forms(connection, first_day, _day(today - QUIET_DAYS - 1))
        for forms in _chunks([form for form in quiet if not _is_told(form)]):
            await self._tell(forms, first_day, today, now_ms)
        async with self._database.write() as connection:
            await store.forget_gone(connection)

    async def _tell(
        self, forms: Sequence[QuietForm], first_day: str, today: int, now_ms: int
    ) -> None:
        async with self._database.read() as connection:
            days = await store.received_by_day(connection, [form.id for form in forms], first_day)
        silent = []
        for form in forms:
            received = {_ordinal(day): count for day, count in days[form.id].items()}
            silence = find_silence(received, _ordinal(day_of(form.updated_at)), today)
            if silence is not None:
                silent.append((form, silence))
        if not silent:
            return
        async with self._database.write() as connection:
            for form, silence in silent:
                since = _start_of(silence.first_day)
                if await store.mark_silence(connection, form.id, since, now_ms):
                    await add_notice(
                        connection,
                        form.account_id,
                        FORM_SILENT,
                        now_ms,
                        form_id=form.id,
                        form_name=form.name,
                        days=silence.days,
                        since=iso(since),
                    )


def _is_told(form: QuietForm) -> bool:
    return form.told_of is not None and form.told_of >= _start_of(_ordinal(form.last_day) + 1)


def _chunks(forms: Sequence[QuietForm]) -> Iterator[Sequence[QuietForm]]:
    for start in range(0, len(forms), _FORMS_AT_ONCE):
        yield forms[start : start + _FORMS_AT_ONCE]


def _ordinal(day: str) -> int:
    return date.fromisoformat(day).toordinal()


def _day(ordinal: int) -> str:
    return date.fromordinal(ordinal).isoformat()


def _start_of(ordinal: int) -> int:
    """The first instant of a day, in Unix milliseconds."""
    return (ordinal - _EPOCH) * _DAY_MS
