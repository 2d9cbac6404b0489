"""A backup under load is whole, and restores to a product that goes on."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.backups import run_backups
from tests.faults.spoilt import command


def test_a_backup_under_load_and_a_kill_restores_whole(tmp_path: Path) -> None:
    outcome = asyncio.run(run_backups(tmp_path, times=1))
    assert outcome.wrong == []
    assert outcome.restored == 1
    assert outcome.submissions >= 40


@pytest.mark.parametrize("variant", ["keep-epoch", "copy-plainly"])
def test_a_careless_backup_is_found_out(tmp_path: Path, variant: str) -> None:
    assert asyncio.run(run_backups(tmp_path, 1, command(variant), kills=False)).wrong
