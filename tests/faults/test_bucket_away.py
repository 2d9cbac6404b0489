"""A post with a file is queued or refused while the bucket is away, never stored without it."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.bucket_away import FILE, id_of, run_bucket_away
from tests.support.s3 import Fault


@pytest.mark.parametrize("fault", ["500", "403", "lost-answer"])
def test_a_post_with_a_file_is_queued_and_stored_later(tmp_path: Path, fault: Fault) -> None:
    found = asyncio.run(run_bucket_away(tmp_path, fault))
    assert (found.with_file.status, found.with_file.headers["formflow-queued"]) == (202, "true")
    assert found.without_file.status in (200, 202)
    assert found.rows_away == 0
    assert found.stored == {id_of(found.with_file), id_of(found.without_file)}
    assert found.served == FILE


def test_without_a_spool_a_post_with_a_file_is_refused_and_others_are_not(tmp_path: Path) -> None:
    found = asyncio.run(run_bucket_away(tmp_path, "500", SPOOL="off"))
    assert found.with_file.status == 503
    assert int(found.with_file.headers["retry-after"]) > 0
    assert found.without_file.status == 200
    assert (found.rows_away, found.stored) == (0, {id_of(found.without_file)})
