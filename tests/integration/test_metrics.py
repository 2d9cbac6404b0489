"""What gateway and backend tell Prometheus, on a running product."""

import re
from pathlib import Path

import httpx

from tests.support.processes import Product, until


def test_a_backend_tells_what_waits_for_delivery(product: Product) -> None:
    text = httpx.get(f"{product.first['backend_url']}/metrics").raise_for_status().text
    shown = {line.split()[2]: line.split()[3] for line in text.splitlines() if "# TYPE" in line}
    told = {name: kind for name, kind in shown.items() if "outbox" in name or "deliver" in name}
    assert told == {
        "formflow_delivery_attempts_total": "counter",
        "formflow_outbox_rows": "gauge",
        "formflow_outbox_set_aside": "gauge",
        "formflow_deliveries_pending": "gauge",
        "formflow_delivery_lag_seconds": "gauge",
    }
    documented = Path("docs/delivery.md").read_text()
    assert [name for name in told if name not in documented] == []


def test_a_backend_tells_how_much_sqlite_has_not_copied_yet(product: Product) -> None:
    def log_bytes() -> int:
        text = httpx.get(f"{product.first['backend_url']}/metrics").raise_for_status().text
        [size] = re.findall(r"^formflow_sqlite_log_bytes (\S+)$", text, re.MULTILINE)
        return int(float(size))

    log = product.data_dir / "formflow.db-wal"
    with product.client() as client:
        client.post(f"/v1/f/{product.first['demo_form']}", data={"n": "1"}).raise_for_status()
    until(lambda: 0 < log_bytes() == log.stat().st_size)
