"""A whole account, from one running product to another."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Product, run_formflow

WIDGET = {"turnstile_site_key": "site", "turnstile_secret": "secret", "turnstile_enabled": True}
FIELDS = [{"name": "email", "type": "email", "required": True}]
LOCAL = {"WEBHOOK_ALLOW_HTTP": "true", "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8"}
HOOKS = [
    {"url": "http://127.0.0.1:2/hook", "headers": {"Authorization": "Bearer canary"}},
    {"url": "http://127.0.0.1:2/other", "format": "slack", "enabled": False},
]
LARGE = bytes(range(256)) * 1_000


@pytest.fixture
def products(tmp_path: Path) -> Iterator[tuple[Product, Product]]:
    """Two products that know nothing of each other."""
    running = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        running.append(Product(tmp_path / name / "data", **LOCAL))
    try:
        yield running[0].start(), running[1].start()
    finally:
        for product in running:
            product.stop()


def call(product: Product, *arguments: str) -> str:
    """What a command that succeeds on a running product prints."""
    done = run_formflow(*arguments, URL=product.url, KEY=product.first["management_key"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def complaint(product: Product, *arguments: str) -> str:
    """The one line of a command that fails."""
    done = run_formflow(*arguments, URL=product.url, KEY=product.first["management_key"])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    return done.stderr


def imported(product: Product, *arguments: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(call(product, "import", *arguments, "--json"))
    return report


def fill(product: Product) -> None:
    """Something of everything that an account can have."""
    with product.manager() as manager, product.client() as visitor:
        created = {"name": "preview"}
        manager.post("/v1/environments", json=created).raise_for_status()
        form = {"name": "Contact", "environment": "preview", "fields": FIELDS, "notify_emails": ""}
        contact = manager.post("/v1/forms", json=form).raise_for_status().json()["id"]
        for hook in HOOKS:
            manager.post(f"/v1/forms/{contact}/webhooks", json=hook).raise_for_status()
        manager.post("/v1/forms", json={"name": "Bewerbung"}).raise_for_status()
        manager.post("/v1/forms", json={"name": "Guarded", **WIDGET}).raise_for_status()
        told = {"email": "ada@example.com", "text": ["é\u2028日本\0", "🦉"]}
        spam = visitor.post("/v1/f/contact", json=told).raise_for_status().json()["id"]
        visitor.post(
            "/v1/f/contact",
            content=b"email=a@example.com&name=M\xfcller",
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "text/json"},
        )
        files = [
            ("cv", ("Zeugnis ä.pdf", b"%PDF-1.7", "application/pdf")),
            ("cv", ("gross.bin", LARGE, "application/octet-stream")),
        ]
        answer = visitor.post(
            "/v1/f/bewerbung", data={"a": "b"}, files=files, headers={"accept": "application/json"}
        )
        read = answer.raise_for_status().json()["id"]
        manager.patch(f"/v1/submissions/{spam}", json={"status": "spam"}).raise_for_status()
        manager.patch(f"/v1/submissions/{read}", json={"read": True}).raise_for_status()
        held = {
            "reference": "1",
            "received_at": "2024-03-01T09:30:00.001Z",
            "status": "held",
            "payload": {"email": "held@example.com"},
        }
        body = {"source": "basin", "submissions": [held]}
        path = f"/v1/forms/{contact}/submissions/import"
        manager.post(path, json=body).raise_for_status()


def lines_of(archive: Path) -> list[dict[str, Any]]:
    with tarfile.open(archive) as tar:
        content = tar.extractfile("account.jsonl")
        assert content is not None
        return [json.loads(line) for line in content]


def contents_of(archive: Path) -> list[bytes]:
    """The files, in their order."""
    with tarfile.open(archive) as tar:
        members = [tar.extractfile(member) for member in tar if member.name != "account.jsonl"]
        return [member.read() for member in members if member is not None]


def lasting(archive: Path) -> list[dict[str, Any]]:
    """The lines without ids and times of creation, and without what a move adds or takes."""
    lines = lines_of(archive)
    slugs = {line["id"]: line["slug"] for line in lines if line["type"] == "form"}
    for line in lines:
        if line["type"] == "submission":
            line["form_id"] = slugs[line["form_id"]]
            for file in line["files"]:
                del file["id"]
            checks = line["trace"]["checks"]
            line["trace"] = [row for row in checks if row["verdict"] != "from formflow"]
        for name in ("id", "created_at", "updated_at", "exported_at"):
            line.pop(name, None)
    return lines


@pytest.mark.timeout(300)
def test_an_account_moves_to_another_product_and_is_the_same_there(
    products: tuple[Product, Product], tmp_path: Path
) -> None:
    old, new = products
    fill(old)
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    assert "4 forms, 4 submissions, 2 files" in call(old, "export", "-o", str(first))
    assert first.stat().st_mode & 0o777 == 0o600
    text = json.dumps(lines_of(first))
    assert "signature" not in text
    assert "canary" not in text
    assert "whsec_" not in text
    assert "deliveries" not in text.replace('"deliveries", "Turnstile', "")
    would = imported(new, str(first), "--dry-run")
    assert (would["forms"], would["imported"], would["files"]) == (3, 4, 2)
    assert len(json.loads(call(new, "forms", "list", "--json"))) == 1
    report = imported(new, str(first))
    assert report == would | {"dry_run": False, "notes": report["notes"]}
    assert (report["environments"], report["forms_there"], report["known"]) == (1, 1, 0)
    notes = report["notes"]
    assert report["webhooks"] == 2
    assert sum("rotate-secret wh_" in note for note in notes) == 2
    [lacking] = [note for note in notes if "dropped" in note]
    assert "Authorization" in lacking
    assert any(note.startswith("guarded: Turnstile is off") for note in notes)
    assert len(notes) == 3

    beside = run_formflow("export", "-o", str(second), "--data", str(new.data_dir))
    assert beside.returncode == 0, beside.stderr
    before, after = lasting(first), lasting(second)
    assert {line["type"] for line in before} == {"header", "environment", "form", "submission"}
    [guarded] = [line for line in before if line.get("slug") == "guarded"]
    guarded |= {"turnstile_enabled": False, "has_turnstile_secret": False}
    [told] = [line for line in before if line.get("slug") == "contact"]
    assert [hook["headers"] for hook in told["webhooks"]] == [["Authorization"], []]
    told["webhooks"][0]["headers"] = []
    assert after == before
    assert contents_of(second) == contents_of(first) == [b"%PDF-1.7", LARGE]
    assert {line["meta"].get("charset_guessed") for line in after if "meta" in line} == {None, True}

    for product in (new, old):
        again = imported(product, str(first))
        assert (again["forms"], again["imported"], again["files"]) == (0, 0, 0)
        assert (again["forms_there"], again["known"], again["files_there"]) == (4, 4, 2)
    call(new, "export", "-o", str(second))
    assert lasting(second) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "first.tar.gz",
        "new",
        "old",
        "second.tar.gz",
    ]


@pytest.mark.timeout(300)
def test_what_cannot_be_imported_is_said(products: tuple[Product, Product], tmp_path: Path) -> None:
    old, new = products
    fill(old)
    archive, cut = tmp_path / "account.tar.gz", tmp_path / "cut.tar.gz"
    call(old, "export", "-o", str(archive))
    cut.write_bytes(archive.read_bytes()[:-20])
    assert "cut off" in complaint(new, "import", str(cut))
    assert len(json.loads(call(new, "forms", "list", "--json"))) == 1
    call(new, "forms", "create", "Contact")
    call(new, "forms", "delete", "contact", "--yes")
    assert "--rename contact=NEW" in complaint(new, "import", str(archive))
    assert imported(new, str(archive), "--rename", "contact=moved")["imported"] == 4
    assert imported(new, str(archive), "--rename", "contact=moved")["imported"] == 0
    assert "--rename other=x" in complaint(new, "import", str(archive), "--rename", "other=x")
    assert "leave 'demo' out" in complaint(new, "import", "demo", str(archive))
    assert "--timezone" in complaint(new, "import", str(archive), "--timezone", "Europe/Berlin")
    assert "-o" in complaint(new, "export")
    assert "--status" in complaint(new, "export", "-o", str(cut), "--status", "spam")
    (tmp_path / "old.csv").write_text("_date,a\n2024-01-01,b\n")
    assert "which form" in complaint(new, "import", str(tmp_path / "old.csv"))
