"""Holds a ledger against the database: what was lost, doubled, or beyond the quota."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from sqlalchemy import select

from backend.db import Database
from backend.plans.catalogue import load_plans
from backend.tables import accounts, forms, submissions, usage_months
from contracts.runtime.settings import PREFIX, Settings, load_settings
from tests.faults.fleet import FaultyFleet
from tests.faults.ledger import Entry, Ledger
from tests.support.patience import AsyncPatientTransport

PLAN_SETTINGS = ("PLANS_FILE", "DEFAULT_PLAN")
_ASKED_AT_ONCE = 8
_DIRECT_MAX = 100


@dataclass(slots=True)
class Verdict:
    """What is wrong, by marker or by account and month; empty lists are what is promised."""

    acknowledged: int = 0
    stored: int = 0
    queued: int = 0
    replayed: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    over_quota: list[str] = field(default_factory=list)
    miscounted: list[str] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether every promise was kept."""
        wrong = (self.lost, self.doubled, self.over_quota, self.miscounted, self.unresolved)
        return not any(wrong)

    def __str__(self) -> str:
        """The counts, and of what is wrong the first few."""
        values = ((name, getattr(self, name)) for name in self.__slots__)
        shown = (
            f"{name} {len(value)} {value[:3]}" if isinstance(value, list) else f"{name} {value}"
            for name, value in values
            if value
        )
        return ", ".join(shown)


async def judge(fleet: FaultyFleet, ledger: Ledger) -> Verdict:
    """Compares, through the management API and in the database; all must have been drained."""
    rows, months = await _read_state(fleet)
    verdict = Verdict(
        acknowledged=len(ledger.acknowledged),
        stored=len(rows),
        queued=sum(entry.queued for entry in ledger.entries),
        replayed=sum(len(entry.ids) - 1 for entry in ledger.acknowledged),
    )
    stored = Counter(orjson.loads(row.payload).get("n") for row in rows)
    verdict.doubled = [marker for marker, count in stored.items() if count > 1]
    verdict.lost = [entry.marker for entry in ledger.acknowledged if entry.marker not in stored]
    verdict.unresolved = await _unresolved(fleet, ledger.acknowledged, {row.id for row in rows})
    verdict.over_quota, verdict.miscounted = await _quota_faults(fleet, rows, months)
    return verdict


async def read_rows(fleet: FaultyFleet) -> Sequence[Any]:
    """Every stored submission, straight from the database."""
    query = select(
        submissions.c.id, submissions.c.payload, submissions.c.charged, forms.c.account_id
    ).join(forms, forms.c.id == submissions.c.form_id)
    return await read(fleet, query)


async def _read_state(fleet: FaultyFleet) -> tuple[Sequence[Any], Sequence[Any]]:
    """Every submission and every month, as of one moment: what visitors left under way when they
    went may still be coming in."""
    while True:
        before = await read_rows(fleet)
        months = await read(fleet, select(usage_months))
        rows = await read_rows(fleet)
        if len(before) == len(rows):
            return rows, months


async def read(fleet: FaultyFleet, query: Any) -> Sequence[Any]:
    """The rows of a query on the backend's database."""
    database = Database(database_url(fleet))
    try:
        async with database.read() as connection:
            return (await connection.execute(query)).all()
    finally:
        await database.close()


def database_url(fleet: FaultyFleet) -> str:
    """The backend's database, with its driver."""
    given = {"DATA_DIR": str(fleet.directory / "backend")} | fleet.settings
    given |= fleet.overrides.get("backend", {})
    return settings_of(given, "DATA_DIR", "DATABASE_URL").sqlalchemy_url()


def settings_of(given: Mapping[str, str], *names: str) -> Settings:
    """The settings of these names, without those of this process."""
    environ = {f"{PREFIX}{name}": given[name] for name in names if name in given}
    return load_settings(environ=environ)


async def _unresolved(fleet: FaultyFleet, entries: Sequence[Entry], stored: set[str]) -> list[str]:
    """The acknowledged ids that the API does not show as the submission with the marker: of those
    that are no row's id all are looked up, of the others some."""
    step = max(1, len(entries) // _DIRECT_MAX)
    asked = [*entries[::step], *(entry for entry in entries if not stored.issuperset(entry.ids))]
    turns = asyncio.Semaphore(_ASKED_AT_ONCE)
    async with httpx.AsyncClient(
        base_url=fleet.urls["backend"], timeout=20.0, transport=AsyncPatientTransport()
    ) as client:

        async def look(entry: Entry) -> str | None:
            async with turns:
                return await _complaint(client, entry, fleet.management_keys[entry.slug])

        found = await asyncio.gather(*map(look, asked))
    return [complaint for complaint in found if complaint is not None]


async def _complaint(client: httpx.AsyncClient, entry: Entry, key: str) -> str | None:
    shown = set()
    for submission_id in dict.fromkeys(entry.ids):
        answer = await client.get(
            f"/v1/submissions/{submission_id}", headers={"authorization": f"Bearer {key}"}
        )
        document = answer.json() if answer.is_success else {}
        if document.get("payload", {}).get("n") != entry.marker:
            return f"{entry.marker}: {submission_id}: {answer.status_code}"
        shown.add(document["id"])
    return None if len(shown) == 1 else f"{entry.marker}: {sorted(shown)}"


async def _quota_faults(
    fleet: FaultyFleet, rows: Sequence[Any], months: Sequence[Any]
) -> tuple[list[str], list[str]]:
    """The months beyond their limit, and the accounts whose counts are not their rows."""
    plans = load_plans(settings_of(fleet.settings, *PLAN_SETTINGS))
    plan_of = {row.id: row.plan for row in await read(fleet, select(accounts))}
    over = [
        f"{row.account_id} {row.month}: {row.submissions} of {limit}"
        for row in months
        if (limit := plans.get(plan_of[row.account_id]).submissions_per_month) is not None
        and row.submissions > limit
    ]
    counted, charged = Counter[str](), Counter[str]()
    for month in months:
        counted[month.account_id] += month.submissions
    for row in rows:
        charged[row.account_id] += row.charged
    wrong = [
        f"{account}: {counted[account]} counted, {charged[account]} charged"
        for account in plan_of
        if counted[account] != charged[account]
    ]
    return over, wrong
