"""A gateway whose disk is full refuses, keeps nothing by halves, and can still empty its spool."""

import asyncio
from html import escape
from pathlib import Path

import pytest

from tests.faults.disk import why_no_small_disk
from tests.faults.gateway_disk import BROWSER_TEXT, run_full_gateway


def test_a_gateway_whose_disk_is_full_refuses_recovers_and_drains(tmp_path: Path) -> None:
    reason = why_no_small_disk()
    if reason is not None:
        pytest.skip(reason)
    found = asyncio.run(run_full_gateway(tmp_path, 1.5))
    assert found.verdict.is_clean, str(found.verdict)
    assert found.full.keys() <= {202, 503}
    assert found.after[202] > 0
    assert found.browser.status == 503
    assert int(found.browser.headers["retry-after"]) > 0
    assert escape(BROWSER_TEXT) in found.browser.body.decode()
    assert found.upload.status == 503
    assert found.staged == []
    assert found.spooled > 0
    assert found.is_drained_while_full
