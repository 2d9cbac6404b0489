"""The long set by name, and what of it is the short one."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.faults import delivery_figures, fleet_figures, storage_figures, upgrade_figures
from tests.faults.figure import Figure, Size

RUNS: dict[str, Callable[[Path, Size], Awaitable[Figure]]] = {
    "cycles": storage_figures.ledger_cycles,
    "postgresql": storage_figures.postgresql_cycles,
    "powercuts": storage_figures.power_cuts,
    "disk": storage_figures.disk_errors,
    "full-disk": storage_figures.full_disk,
    "locked": storage_figures.locked_database,
    "damage": storage_figures.damaged_files,
    "backups": storage_figures.restored_backups,
    "clocks": storage_figures.clock_jumps,
    "keys": fleet_figures.key_races,
    "quota": fleet_figures.quota_races,
    "revocations": fleet_figures.revocations,
    "feed-cut": fleet_figures.feed_cut,
    "outage": fleet_figures.outage_by_kill,
    "hang": fleet_figures.outage_by_hang,
    "overload": fleet_figures.overload_of_backend,
    "addresses": fleet_figures.address_flood,
    "slugs": fleet_figures.slug_flood,
    "key-flood": fleet_figures.key_flood,
    "rolls": fleet_figures.rolling_restarts,
    "upgrade": upgrade_figures.upgrades,
    "deliveries": delivery_figures.deliveries_under_kills,
    "hanging": delivery_figures.deliveries_beside_hanging,
}

# What every run of CI does, at the sizes of the reliability table; the rest is in the tests.
SHORT = (
    "cycles",
    "postgresql",
    "powercuts",
    "disk",
    "backups",
    "keys",
    "quota",
    "revocations",
    "outage",
    "addresses",
    "rolls",
)
