"""``formflow doctor`` says what is wrong and what to do."""

import json
from pathlib import Path

from tests.support.processes import Product, run_formflow

DUMMY = "1x0000000000000000000000000000000AA"


def test_a_running_product_is_found_well(product: Product) -> None:
    settings = {"BACKEND_URL": str(product.first["backend_url"])}
    done = run_formflow("doctor", "--json", "--data", str(product.data_dir), **settings)
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if not finding["is_good"]] == []
    assert done.returncode == 0


def test_what_is_wrong_is_named_with_advice(tmp_path: Path) -> None:
    done = run_formflow(
        "doctor",
        DATA_DIR=str(tmp_path / "data"),
        BACKEND_URL="http://127.0.0.1:9",
        DEFAULT_PLAN="platinum",
        RATE_LIMIT_URL="redis://127.0.0.1:9",
        TURNSTILE_SECRET=DUMMY,
    )
    assert done.returncode == 1
    bad = [line.split(":")[0] for line in done.stdout.splitlines() if line.startswith("BAD")]
    assert bad == [
        "BAD  secrets",
        "BAD  Turnstile secret",
        "BAD  plans",
        "BAD  database",
        "BAD  rate limit store",
        "BAD  backend",
    ]
    assert DUMMY not in done.stdout


def test_a_test_secret_of_turnstile_is_warned_of_at_the_start(tmp_path: Path) -> None:
    product = Product(tmp_path / "data", TURNSTILE_SECRET=DUMMY).start()
    assert product.stop() == 0
    assert "one of Cloudflare's test secrets" in product.log
    assert DUMMY not in product.log


def test_a_damaged_database_is_named_and_no_backend_starts_on_it(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path / "data"), "INTERNAL_TOKEN": "a-token-for-the-tests"}
    assert run_formflow("migrate", **settings).returncode == 0
    database = tmp_path / "data" / "formflow.db"
    data = bytearray(database.read_bytes())
    data[2 * 4096 : 3 * 4096] = b"\xff" * 4096
    database.write_bytes(data)
    backend = run_formflow("backend", PORT="0", **settings)
    assert backend.returncode == 1
    assert f"{database} is damaged" in backend.stderr
    assert "restore a backup" in backend.stderr
    assert len(backend.stderr.splitlines()) == 1
    doctor = run_formflow("doctor", **settings)
    assert "BAD  database file" in doctor.stdout
    assert bytes(data) == database.read_bytes()
