"""Signing in to a running product: by the link that the first start, a command or a mail has."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx

from tests.support.processes import Product, run_formflow, until

OWNER = "owner@localhost"


def used(product: Product, url: str) -> httpx.Response:
    """What signing in with a link answers, as its page would do it."""
    assert url.startswith(f"{product.url}/sign-in?")
    [token] = parse_qs(urlsplit(url).query)["token"]
    return httpx.post(f"{product.url}/v1/auth/session", json={"token": token}, timeout=20.0)


def address_of(product: Product, token: str) -> str:
    """Who is signed in with a session's token."""
    with product.client(authorization=f"Bearer {token}") as browser:
        answer = browser.get("/v1/auth/session").raise_for_status()
    return str(answer.json()["user"]["email"])


def mails(product: Product) -> list[EmailMessage]:
    """The mails in the data directory."""
    return [
        message_from_bytes(path.read_bytes(), policy=policy.default)
        for path in product.data_dir.glob("mail/*.eml")
    ]


def test_the_first_start_prints_a_link_that_signs_the_owner_in_once(product: Product) -> None:
    link = product.first["sign_in_url"]
    answer = used(product, link)
    assert answer.status_code == 201
    assert used(product, link).status_code == 404
    token = answer.json()["token"]
    assert address_of(product, token) == OWNER
    assert product.stop() == 0
    product.start()
    assert product.first["sign_in_url"] is None
    assert address_of(product, token) == OWNER


def test_a_command_on_the_machine_prints_a_link(product: Product, tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(product.data_dir)}
    for arguments in (["sign-in"], ["sign-in", "Owner@LOCALHOST"]):
        printed = run_formflow(*arguments, **settings)
        assert printed.returncode == 0, printed.stderr
        assert used(product, printed.stdout.strip()).status_code == 201
    unknown = run_formflow("sign-in", "nobody@example.com", **settings)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("formflow: there is no member nobody@example.com")
    nowhere = run_formflow("sign-in", "--data", str(tmp_path / "empty"))
    assert nowhere.returncode == 1
    assert "formflow up makes the first one" in nowhere.stderr


def test_an_invitation_that_a_command_makes_comes_by_mail(product: Product) -> None:
    command = ("members", "invite", "ada@example.com", "--role", "viewer")
    printed = run_formflow(*command, DATA_DIR=str(product.data_dir))
    assert printed.returncode == 0, printed.stderr
    until(lambda: len(mails(product)) == 1, seconds=15)
    [mail] = mails(product)
    assert mail["To"] == "ada@example.com"
    body = mail.get_body(("plain",))
    assert body is not None
    assert f"{product.url}/invitation?token={printed.stdout.strip()}" in body.get_content()


def test_a_link_comes_by_mail_to_members_only(product: Product) -> None:
    with product.client() as visitor:
        for email in ("nobody@example.com", OWNER):
            answer = visitor.post("/v1/auth/magic-link", json={"email": email})
            assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    until(lambda: len(mails(product)) == 1, seconds=15)
    [mail] = mails(product)
    assert mail["To"] == OWNER
    body = mail.get_body(("plain",))
    assert body is not None
    link = next(word for word in body.get_content().split() if "/sign-in?" in word)
    token = used(product, link).raise_for_status().json()["token"]
    assert address_of(product, token) == OWNER
    assert token not in product.log
    assert link not in product.log
