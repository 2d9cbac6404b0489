"""A fuzzer that knows nothing but ``/openapi`` drives every operation of a running product.

``SCHEMATHESIS_EXAMPLES`` is how many cases of each operation it makes up; from 200 on, as
CI asks for, it also covers the boundaries of every single member. ``SCHEMATHESIS_SEED`` chooses
other cases.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.management import OPERATIONS
from backend.openapi.document import document
from tests.support.processes import Product, clean_environment

EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "3"))
SEED = os.environ.get("SCHEMATHESIS_SEED", "20261121")
IS_THOROUGH = EXAMPLES >= 200
# Long sequences need fewer: each has up to six steps.
SEQUENCES = max(3, EXAMPLES // 4)
SHARES = 6
ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("schemathesis.toml")
# Limits that would hide the operations behind 429.
PLAN = "[selfhost]\nfile_megabytes = 1\nrequests_per_minute = 1000000\n"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A running product that lets a fuzzer call as often as it can."""
    plans = tmp_path / "plans.toml"
    plans.write_text(PLAN)
    running = Product(
        tmp_path / "data",
        PLANS_FILE=str(plans),
        KEY_MINTS_PER_HOUR="1000000",
        API_ANONYMOUS_PER_MINUTE="1000000",
        WEBHOOK_ALLOW_HTTP="true",
        WEBHOOK_ALLOW_CIDRS="127.0.0.0/8",
    )
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.mark.parametrize("share", range(SHARES))
def test_no_request_to_one_operation_breaks_the_contract(product: Product, share: int) -> None:
    operations = operation_ids()[share::SHARES]
    phases = "examples,coverage,fuzzing" if IS_THOROUGH else "examples,fuzzing"
    only = [argument for id in operations for argument in ("--include-operation-id", id)]
    report = fuzz(product, "--phases", phases, "--max-examples", str(EXAMPLES), *only)
    assert f"Tested: {len(operations)}" in report


def test_no_sequence_of_requests_breaks_the_contract(product: Product) -> None:
    report = fuzz(product, "--phases", "stateful", "--max-examples", str(SEQUENCES))
    tested = re.search(r"Tested: (\d+)", report)
    assert tested is not None
    assert int(tested[1]) >= len(OPERATIONS) // 4


def operation_ids() -> list[str]:
    """Every operation of the document."""
    paths = document(OPERATIONS)["paths"].values()
    return [operation["operationId"] for item in paths for operation in item.values()]


def fuzz(product: Product, *arguments: str) -> str:
    """Runs Schemathesis, which must find nothing, nor the product log an error; its report."""
    product.lift_rate_limit()
    with product.manager() as manager:
        body = {"name": "fuzzer", "kind": "management", "burst": 10_000}
        key = manager.post("/v1/api-keys", json=body).raise_for_status().json()
    for number in range(3):
        with product.client() as visitor:
            visitor.post("/v1/f/demo", json={"number": str(number)}).raise_for_status()
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(CONFIG)]
    finished = subprocess.run(
        [*command, "run", f"{product.url}/openapi", "--seed", SEED, *arguments],
        env=clean_environment()
        | {"FORMFLOW_FUZZ_KEY": key["key"], "FORMFLOW_FUZZ_KEY_ID": key["id"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = finished.stdout + finished.stderr
    assert finished.returncode == 0, report[-20_000:]
    assert '"level":"error"' not in product.log, product.log[-5_000:]
    return report
