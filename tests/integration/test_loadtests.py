"""The benchmark measures a real product and believes no run whose rows do not add up."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import clean_environment


def test_a_short_run_counts_as_many_rows_as_posts(tmp_path: Path) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("no wrk on this machine (Debian: apt-get install wrk)")
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "loadtests", "burst-64", "--seconds", "1"]
    subprocess.run([*command, "--json", str(results)], env=clean_environment(), check=True)
    [result] = json.loads(results.read_text())
    assert result["scenario"] == "burst-64"
    assert result["acknowledged"] > 0
    assert result["gateway_us"] > 0
