"""Rules of an import.

An imported submission has the date, status and fields that it had elsewhere. It costs no quota,
counts in no statistics and sets nothing going: no mail, no webhook, no rate limit. Its id is
derived from form, source and reference, so that the same import twice, or at once, stores it once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from backend.access import Principal
from backend.answers import invalid, missing
from backend.audit.record import record
from backend.db import Connection, Database
from backend.imports import store
from backend.imports.store import CHECK, ImportedRow
from contracts.ids import derived_id, is_id
from contracts.runtime.clock import Clock

_DAY_MS = 24 * 3600 * 1000

IMPORTED = CHECK
"""The check that the decision trace of an imported submission has."""


@dataclass(frozen=True, slots=True)
class OldSubmission:
    """A submission as another service had it; ``received_at`` is Unix milliseconds, and ``trace``
    has the rows of its decision trace, if there is one."""

    reference: str
    received_at: int
    status: str
    payload: Mapping[str, str | list[str]]
    meta: Mapping[str, str]
    is_read: bool
    trace: Sequence[tuple[str, str, int]] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many were stored, or would be, were known before, and are older than the form keeps;
    ``ids`` are those of all of them, in their order."""

    imported: int
    known: int
    past_retention: int
    ids: list[str]


class ImportService:
    """Imports to the forms of an account."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(
        self,
        principal: Principal,
        form_id: str,
        source: str,
        submissions: Sequence[OldSubmission],
        *,
        is_dry_run: bool,
    ) -> Outcome:
        """Stores what is not known yet, all of it or nothing.

        Raises:
            Rejected: NOT_FOUND, VALIDATION_ERROR for a date that is still to come.
        """
        if not is_id(form_id, "frm"):
            raise missing("form")
        now_ms = self._clock.now_ms()
        _refuse_future(submissions, now_ms)
        async with self._database.read() if is_dry_run else self._database.write() as connection:
            form = await store.hold_form(connection, principal, form_id)
            if form is None:
                raise missing("form")
            rows, ids = await _resolve(connection, form_id, source, submissions)
            if rows and not is_dry_run:
                await store.insert_submissions(connection, rows)
                await record(
                    connection,
                    principal,
                    "submissions.imported",
                    form_id,
                    now_ms,
                    source=source,
                    count=len(rows),
                )
        return Outcome(
            imported=len(rows),
            known=len(submissions) - len(rows),
            past_retention=_past(rows, form.retention_days, now_ms),
            ids=ids,
        )


def _refuse_future(submissions: Sequence[OldSubmission], now_ms: int) -> None:
    for index, submission in enumerate(submissions):
        if submission.received_at > now_ms:
            raise invalid(
                f"submissions.{index}.received_at",
                "future",
                "It lies in the future: check the time zone of the dates.",
            )


async def _resolve(
    connection: Connection, form_id: str, source: str, submissions: Sequence[OldSubmission]
) -> tuple[list[ImportedRow], list[str]]:
    """The rows of those that are not known yet, and the ids of all."""
    rows = {submission.reference: _row(form_id, source, submission) for submission in submissions}
    # A form's own export names its submissions by their ids, which may still be there.
    own = {reference for reference in rows if is_id(reference, "sub")}
    known = await store.known_ids(connection, form_id, {row.id for row in rows.values()} | own)
    ids = {
        reference: reference if reference in known else row.id for reference, row in rows.items()
    }
    unknown = [row for reference, row in rows.items() if ids[reference] not in known]
    return unknown, [ids[submission.reference] for submission in submissions]


def _row(form_id: str, source: str, submission: OldSubmission) -> ImportedRow:
    seed = orjson.dumps([form_id, source, submission.reference])
    return ImportedRow(
        id=derived_id("sub", submission.received_at, seed),
        form_id=form_id,
        received_at=submission.received_at,
        status=submission.status,
        payload=orjson.dumps(submission.payload).decode(),
        meta=orjson.dumps(submission.meta).decode(),
        trace=orjson.dumps([*submission.trace, (CHECK, f"from {source}", 0)]).decode(),
        is_read=submission.is_read,
    )


def _past(rows: Sequence[ImportedRow], retention_days: int | None, now_ms: int) -> int:
    if retention_days is None:
        return 0
    since = now_ms - retention_days * _DAY_MS
    return sum(row.received_at < since for row in rows)
