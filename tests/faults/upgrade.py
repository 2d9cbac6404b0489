"""One release takes the place of another under load, and gives it back: nobody notices.

The database is migrated first, by the newer release, while the older one works. Then processes are
told to stop and started again as the other release, one by one. With two backends, which
PostgreSQL allows, one of each release writes to the one database meanwhile. A backend of the older
release is killed in between, so that it has to start with the newer schema.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import orjson
from sqlalchemy import text

from backend.schema import HEAD
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.limited import add_limited_form, write_plans
from tests.faults.paced import PacedVisitors
from tests.faults.releases import MARK, Release
from tests.faults.rolling import Settle, by_readiness, roll
from tests.faults.verdict import Verdict, judge, read, read_rows
from tests.support.fleet import free_port
from tests.support.processes import until

_LIMIT = 150
_VERSION_SECONDS = 40.0
_DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a run: how often there and back (once there, if there is no way back), the
    seconds of load after each step, and the posts a second of visitors who do not repeat what
    fails. ``database_url`` is one that ``old`` has migrated."""

    old: Release
    new: Release
    database_url: str
    seed: int
    rounds: int = 1
    seconds: float = 0.2
    rate: float = 40.0

    @property
    def has_two_backends(self) -> bool:
        """SQLite's file belongs to one backend."""
        return not self.database_url.startswith("sqlite")

    @property
    def may_return(self) -> bool:
        """Whether the older release starts with the newer schema."""
        return self.old.heeds_the_floor or self.old.revision == self.new.revision


@dataclass(slots=True)
class Outcome:
    """What a run found: the statuses of visitors who post once, what they were told and is not
    there, the verdict on those with a ledger, exit statuses of what was told to stop, and rows by
    what the newer release marks them with."""

    statuses: Counter[int]
    lost: list[str]
    verdict: Verdict
    exits: Counter[int | None]
    marked: Counter[str | None] = field(default_factory=Counter)


async def run_upgrade(directory: Path, plan: Plan) -> Outcome:
    """Carries a plan out."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "PLANS_FILE": str(write_plans(directory, _LIMIT)),
        "DATABASE_URL": plan.database_url,
        "DRAIN_SECONDS": "0.5",
    }
    with faulty_fleet(directory, gateways=2, **settings) as fleet:
        if plan.has_two_backends:
            fleet.urls["backend-1"] = f"http://127.0.0.1:{free_port()}"
            fleet.overrides["gateway-1"] = {"BACKEND_URL": fleet.urls["backend-1"]}
        for name in fleet.names:
            plan.old.assign(fleet, name)
        await asyncio.to_thread(start_all, fleet)
        if plan.old.revision == HEAD:
            # This tree's code writes it, which the tables of another may not suit.
            await add_limited_form(fleet)
        return await _under_load(fleet, plan)


async def _under_load(fleet: FaultyFleet, plan: Plan) -> Outcome:
    ledger = Ledger()
    visitors = PacedVisitors(list(fleet.gateways), plan.rate)
    slugs = tuple(fleet.management_keys)
    crowd = Crowd(fleet.gateways, slugs, visitors=4, pause_seconds=0.1)
    async with by_readiness(fleet, visitors) as settle:
        single = asyncio.create_task(visitors.run())
        repeating = crowd.start(ledger, str(plan.seed))
        upgrade = _Upgrade(fleet, plan, settle)
        try:
            for _ in range(plan.rounds if plan.may_return else 1):
                await upgrade.go_there_and_back()
        finally:
            single.cancel()
            await asyncio.wait([single])
            await stop(repeating)
    await asyncio.to_thread(fleet.until_drained, _DRAIN_SECONDS)
    stored = {orjson.loads(row.payload)["n"] for row in await read_rows(fleet)}
    return Outcome(
        statuses=Counter(sample.status for sample in visitors.samples),
        lost=[
            sample.marker
            for sample in visitors.samples
            if sample.submission_id and sample.marker not in stored
        ],
        verdict=await judge(fleet, ledger),
        exits=upgrade.exits,
        marked=await _marked(fleet, plan),
    )


class _Upgrade:
    """The steps of a run. ``exits`` are the statuses of the processes that were told to stop."""

    def __init__(self, fleet: FaultyFleet, plan: Plan, settle: Settle) -> None:
        self.exits = Counter[int | None]()
        self._fleet = fleet
        self._plan = plan
        self._settle = settle

    async def go_there_and_back(self) -> None:
        """All processes become those of the newer release, and those of the older one again if it
        starts with the newer schema."""
        plan = self._plan
        names = ["gateway-0", "backend", "gateway-1"]
        if plan.has_two_backends:
            names = ["backend-1", "gateway-1", "backend", "gateway-0"]
        here = names.index("backend")
        await asyncio.sleep(plan.seconds)
        await self._migrate()
        await self._roll_to(plan.new, names[:here])
        if plan.may_return:
            await self._kill("backend")
        await self._roll_to(plan.new, names[here:])
        if plan.may_return:
            await self._roll_to(plan.old, names)

    async def _migrate(self) -> None:
        plan = self._plan
        migrated = await asyncio.to_thread(plan.new.run, "migrate", DATABASE_URL=plan.database_url)
        assert migrated.returncode == 0, migrated.stderr

    async def _kill(self, name: str) -> None:
        """What is left of the older release dies, and starts with the newer schema."""
        self._fleet.kill(name)
        await asyncio.to_thread(self._fleet.start, name)
        await _until_it_runs(self._fleet, name, self._plan.old)
        await asyncio.sleep(self._plan.seconds)

    async def _roll_to(self, release: Release, names: Sequence[str]) -> None:
        """Restarts processes as those of a release, one after the other."""
        for name in names:
            release.assign(self._fleet, name)
            status, _ = await roll(self._fleet, name)
            self.exits[status] += 1
            await _until_it_runs(self._fleet, name, release)
            if name.startswith("gateway"):
                await self._settle(name)
            await asyncio.sleep(self._plan.seconds)


async def _until_it_runs(fleet: FaultyFleet, name: str, release: Release) -> None:
    """Returns once a process says itself that it is of that release."""
    with fleet.manager() as manager:
        await asyncio.to_thread(
            until, lambda: _runs(fleet, name, release, manager), _VERSION_SECONDS
        )


def _runs(fleet: FaultyFleet, name: str, release: Release, manager: httpx.Client) -> bool:
    """Whether a process is of a release; of a gateway its backend knows it."""
    is_backend = name.startswith("backend")
    backend_url = fleet.overrides.get(name, {}).get("BACKEND_URL", fleet.urls["backend"])
    url = f"{fleet.urls[name]}/v1/health" if is_backend else f"{backend_url}/v1/gateways"
    answer = manager.get(url)
    if answer.status_code == 404:
        # Of a release so old that it does not say.
        return True
    document = answer.raise_for_status().json()
    if is_backend:
        return bool(document["version"] == release.version)
    own = f", process {fleet.pid(name)}"
    versions = [each["version"] for each in document["data"] if each["name"].endswith(own)]
    return versions == [release.version]


async def _marked(fleet: FaultyFleet, plan: Plan) -> Counter[str | None]:
    """Rows by their mark; none if the newer release has no marks."""
    if f"'{MARK}'" not in (plan.new.directory / "backend" / "tables.py").read_text():
        return Counter()
    rows = await read(fleet, text("SELECT release, count(*) FROM submissions GROUP BY release"))
    return Counter({mark: count for mark, count in rows})
