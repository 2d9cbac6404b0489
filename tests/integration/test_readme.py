"""The curl lines of the README do what it says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import Product

README = Path(__file__).parents[2] / "README.md"
# Each call prints its status, and then what was called.
REPORTING = """set -eu
curl() { command curl -sS -o /dev/null -w '%{http_code} ' "$@"; echo "$*"; }
"""


def blocks() -> list[str]:
    """The shell blocks that call curl."""
    found = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in found if re.search(r"^curl ", block, re.MULTILINE)]


def test_every_curl_line_succeeds(product: Product) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine (Debian: apt-get install curl)")
    script = REPORTING + "".join(blocks()).replace("http://127.0.0.1:8787", product.url)
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | _variables(product),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    called = done.stdout.splitlines()
    assert len(called) == sum(len(re.findall("^curl ", b, re.MULTILINE)) for b in blocks())
    assert [line for line in called if not line.startswith("2")] == []


def _variables(product: Product) -> dict[str, str]:
    with product.client() as visitor, product.manager() as manager:
        posted = visitor.post("/v1/f/demo", json={"email": "ada@example.com"})
        made = manager.post("/v1/api-keys", json={"name": "old", "kind": "submission"})
    return {
        "KEY": product.first["management_key"],
        "FORM_ID": product.first["demo_form_id"],
        "SUBMISSION_ID": posted.json()["id"],
        "KEY_ID": made.json()["id"],
    }
