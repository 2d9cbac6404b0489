"""Variants of ``tests.faults.spoilt`` that are careless with disks, files and copies."""

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select

import backend.backups.sqlite
import backend.backups.store
import backend.db
import backend.internal.intake
import gateway.spool.database
import gateway.spool.errors
from backend.tables import config_state
from contracts.internal import Batch, BatchAnswer
from contracts.problems import Rejected
from contracts.submissions import ItemResult, ItemStatus


def ignore_eio() -> None:
    """Processes that go on after a failed sync, as after a database that was locked."""
    module: Any = backend.db
    module.has_disk_failed = lambda _: False
    spool_failed: Any = gateway.spool.errors.SpoolFailed
    spool_failed.is_final = property(lambda _: False, lambda *_: None)


def swallow_failures() -> None:
    """A backend that calls stored what its database did not take."""
    intake: Any = backend.internal.intake.Intake
    answer = intake.answer

    async def answer_well(self: Any, batch: Batch) -> BatchAnswer:
        try:
            return await answer(self, batch)  # type: ignore[no-any-return]
        except Rejected:
            items = batch.items
            return BatchAnswer(
                [ItemResult(ItemStatus.STORED, item.id, item.received_at) for item in items]
            )

    intake.answer = answer_well


def never_wait() -> None:
    """A backend that gives up at once when somebody else holds its database."""
    module: Any = backend.db
    others = (each for each in module._PRAGMAS if "busy_timeout" not in each)
    module._PRAGMAS = (*others, "PRAGMA busy_timeout=0")


def start_unchecked() -> None:
    """A backend that starts on whatever file is there."""
    module: Any = backend.db
    module.check_file = lambda *_: True
    module.ensure_file = lambda path: path.parent.mkdir(parents=True, exist_ok=True)


def keep_epoch() -> None:
    """A restore after which gateways take what they know for what the backend knows."""
    module: Any = backend.backups.store

    async def keep(connection: Any) -> str:
        return str((await connection.execute(select(config_state.c.epoch))).scalar_one())

    module.begin_epoch = keep


def copy_plainly() -> None:
    """A backup that copies the file of the database, and not its log."""

    def copy(source: Path, target: Path, _: Any) -> None:
        shutil.copyfile(source, target)

    module: Any = backend.backups.sqlite
    module.copy_database = copy


def spool_sync_normal() -> None:
    """A gateway whose spool does not wait for the disk."""
    module: Any = gateway.spool.database
    pragmas = (each.replace("= FULL", "= NORMAL") for each in module._DURABILITY)
    module._DURABILITY = tuple(pragmas)
