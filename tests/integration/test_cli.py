"""The management commands, on a running product and on its data directory."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import Product, run_formflow

FORMSPREE = (
    "_date,email\n2018-11-03T07:28:29.7,ada@example.com\n2019-11-03T07:28:29,bob@example.com\n"
)


class Terminal:
    """Commands on a product, by its URL or by its data directory."""

    def __init__(self, product: Product) -> None:
        key = product.first["management_key"]
        self._by_url = {"URL": product.url, "KEY": key}
        self._data = ("--data", str(product.data_dir))

    def says(self, *arguments: str) -> str:
        """What a command that succeeds prints."""
        done = run_formflow(*arguments, **self._by_url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def document(self, *arguments: str) -> Any:
        """The JSON of a command."""
        return json.loads(self.says(*arguments, "--json"))

    def says_beside(self, *arguments: str) -> str:
        """What a command on the data directory prints; the URL in the environment is left alone."""
        done = run_formflow(*arguments, *self._data, **self._by_url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refuses(self, *arguments: str) -> tuple[int, str]:
        """Exit status and complaint of a command that fails."""
        done = run_formflow(*arguments, **self._by_url)
        assert done.stdout == ""
        return done.returncode, done.stderr


def test_a_forms_life_at_the_command_line(product: Product) -> None:
    terminal = Terminal(product)
    assert terminal.says("forms", "create", "Contact", "--retention-days", "30") == "contact\n"
    changed = terminal.document(
        "forms", "change", "contact", "--redirect-hosts", "a.example, b.example", "--status", "live"
    )
    assert changed["redirect_hosts"] == ["a.example", "b.example"]
    assert changed["retention_days"] == 30
    httpx.post(f"{product.url}/v1/f/contact", data={"email": "ada@example.com"}).raise_for_status()
    [listed] = terminal.document("submissions", "list", "contact")
    marked = terminal.document("submissions", "mark-read", listed["id"])
    assert marked["done"] == 1
    assert "ada@example.com" in terminal.says_beside("submissions", "list", "contact")
    status, complaint = terminal.refuses("forms", "delete", "contact")
    assert (status, complaint.count("\n")) == (1, 1)
    assert "Say --yes" in complaint
    assert terminal.says("forms", "delete", "contact", "--yes") == "contact is deleted.\n"
    assert terminal.refuses("forms", "show", "contact")[0] == 1


def test_mistakes_are_one_line_that_names_them(product: Product) -> None:
    terminal = Terminal(product)
    status, complaint = terminal.refuses("forms", "change", "demo", "--rate-limit-per-minute", "0")
    assert (status, complaint.count("\n")) == (1, 1)
    assert "rate_limit_per_minute" in complaint
    assert terminal.refuses("forms", "explode")[0] == 2
    assert "no form 'nowhere'" in terminal.refuses("export", "nowhere")[1]


def test_an_export_is_imported_elsewhere_once_with_its_dates(
    product: Product, tmp_path: Path
) -> None:
    terminal = Terminal(product)
    (tmp_path / "old.csv").write_text(FORMSPREE)
    old = str(tmp_path / "old.csv")
    assert "2 submissions of formspree would be imported" in terminal.says(
        "import", "demo", old, "--dry-run"
    )
    assert terminal.document("import", "demo", old)["imported"] == 2
    again = terminal.document("import", "demo", old)
    assert (again["imported"], again["known"]) == (0, 2)
    exported = tmp_path / "demo.json"
    terminal.says_beside("export", "demo", "--format", "json", "--output", str(exported))
    terminal.says("forms", "create", "Other")
    assert terminal.document("import", "other", str(exported))["source"] == "formflow"
    rows = terminal.says("export", "other").splitlines()
    assert rows[0].startswith("id,received_at,status")
    assert [row.split(",")[1] for row in rows[1:]] == [
        "2018-11-03T07:28:29.700Z",
        "2019-11-03T07:28:29.000Z",
    ]
    with closing(sqlite3.connect(product.data_dir / "formflow.db")) as database:
        assert database.execute("SELECT * FROM usage_months").fetchall() == []


def test_a_lost_gateways_quota_is_found_and_written_off(product: Product) -> None:
    with closing(sqlite3.connect(product.data_dir / "formflow.db")) as database, database:
        [account] = database.execute("SELECT id FROM accounts").fetchone()
        database.execute("INSERT INTO lease_holders VALUES ('lost', 'session', 1780000000000)")
        database.execute(
            "INSERT INTO leases (id, holder, session, account_id, month, granted, settled) "
            "VALUES ('lease', 'lost', 'session', ?, '2026-06', 10, 3)",
            (account,),
        )
        database.execute(
            "INSERT INTO usage_months (account_id, month, submissions, reserved) "
            "VALUES (?, '2026-06', 3, 7)",
            (account,),
        )
    data = ("--data", str(product.data_dir))
    [finding] = [
        finding
        for finding in json.loads(run_formflow("doctor", "--json", *data).stdout)
        if finding["check"] == "leases"
    ]
    assert not finding["is_good"]
    assert "lost holds 7 units" in finding["detail"]
    [held] = json.loads(run_formflow("leases", "list", "--json", *data).stdout)
    assert held == {"holder": "lost", "seen_at": "2026-05-28T20:26:40.000Z", "units": 7}
    done = run_formflow("leases", "write-off", "lost", "--yes", *data)
    assert done.stdout == "7 units are free again.\n"
    assert run_formflow("leases", "write-off", "lost", "--yes", *data).returncode == 1
