"""A backup under load is whole, and restores to a product that goes on."""

import asyncio
from pathlib import Path

from tests.faults.backups import run_backups


def test_a_backup_under_load_and_a_kill_restores_whole(tmp_path: Path) -> None:
    outcome = asyncio.run(run_backups(tmp_path, times=1))
    assert outcome.wrong == []
    assert outcome.restored == 1
    assert outcome.submissions >= 40
