"""A second account, whose plan has a monthly limit."""

from pathlib import Path

from backend.db import Database
from backend.services import create_services
from contracts.runtime.clock import SystemClock
from tests.backend.builders import add_account
from tests.faults.fleet import FaultyFleet
from tests.faults.verdict import PLAN_SETTINGS, database_url, settings_of

SLUG = "limited"
_PLAN = "limited"


def write_plans(directory: Path, limit: int) -> Path:
    """A file of plans for ``FORMFLOW_PLANS_FILE``: the default one has no limit."""
    path = directory / "plans.toml"
    unlimited = "[selfhost]\nfile_megabytes = 25\nrequests_per_minute = 100000\n"
    limited = unlimited.replace("selfhost", _PLAN) + f"submissions_per_month = {limit}\n"
    path.write_text(unlimited + limited)
    return path


async def add_limited_form(fleet: FaultyFleet) -> None:
    """Adds the account and its form ``SLUG`` to the database of a running backend."""
    given = fleet.settings | {"SECRET_KEY": "a-secret-key-for-tests"}
    settings = settings_of(given, "SECRET_KEY", *PLAN_SETTINGS)
    database = Database(database_url(fleet))
    services = create_services(settings, SystemClock(), database, None, hash_cost=4)
    try:
        account = await add_account(services, _PLAN)
        members = {"name": "Limited", "slug": SLUG, "rate_limit_per_minute": 100_000}
        await services.forms.create(account.principal, members)
    finally:
        await database.close()
    fleet.management_keys[SLUG] = account.key
