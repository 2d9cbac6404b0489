"""A disk that fails ends the process, a full one does not; what was acknowledged is there."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.disk import (
    Injection,
    run_full_disk,
    run_series,
    why_no_injection,
    why_no_small_disk,
)
from tests.faults.spoilt import command


@pytest.mark.parametrize(
    "injection",
    [
        Injection("backend", "fdatasync", "EIO", "6"),
        Injection("gateway-0", "fdatasync", "EIO", "6"),
        Injection("backend", "pwrite64", "ENOSPC", "6..40"),
    ],
    ids=lambda injection: f"{injection.service}-{injection.call}-{injection.error}",
)
def test_nothing_acknowledged_is_lost_when_a_call_fails(
    tmp_path: Path, injection: Injection
) -> None:
    reason = why_no_injection()
    if reason is not None:
        pytest.skip(reason)
    series = asyncio.run(run_series(tmp_path, [injection]))
    assert series.complaints() == []
    assert series.outcomes[0].hit is not None


@pytest.mark.parametrize(
    "injection",
    [
        Injection("backend", "fdatasync", "EIO", "6"),
        Injection("gateway-0", "fdatasync", "EIO", "6"),
    ],
    ids=lambda injection: injection.service,
)
def test_a_process_that_goes_on_after_a_failed_sync_is_found_out(
    tmp_path: Path, injection: Injection
) -> None:
    reason = why_no_injection()
    if reason is not None:
        pytest.skip(reason)
    series = asyncio.run(run_series(tmp_path, [injection], command("ignore-eio"), 2.0))
    assert any("exit status None" in complaint for complaint in series.complaints())


def test_a_full_disk_stores_nothing_loses_nothing_and_recovers(tmp_path: Path) -> None:
    reason = why_no_small_disk()
    if reason is not None:
        pytest.skip(reason)
    found = asyncio.run(run_full_disk(tmp_path, 1.0))
    assert found.verdict.is_clean, str(found.verdict)
    assert found.full[500] == 0
    assert found.read_status == 200
    assert found.after[200] > 0


def test_a_backend_that_calls_stored_what_found_no_space_is_found_out(tmp_path: Path) -> None:
    reason = why_no_small_disk()
    if reason is not None:
        pytest.skip(reason)
    found = asyncio.run(run_full_disk(tmp_path, 1.0, command("swallow-failures")))
    assert found.verdict.lost
