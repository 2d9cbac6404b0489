"""The mailbox, and the link that ends mails."""

import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from backend.access import RIGHTS
from backend.delivery.attempts import FORM_UNSUBSCRIBED, Verdict
from backend.mail.mailbox import FileMailbox
from backend.mail.unsubscribe_routes import CONTENT_SECURITY_POLICY
from backend.management import Services
from backend.tables import outbox
from contracts.ids import new_id
from contracts.keys import KeyKind
from tests.backend.builders import Account, add_account, add_form, add_submission
from tests.backend.form_builders import client_of
from tests.backend.mail_builders import (
    add_mail,
    attempted,
    everywhere,
    mail_about,
    mailing,
    newest_raw,
)
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio


async def test_the_mailbox_shows_the_accounts_mails_newest_first(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    ids = [await add_mail(services, account, name) for name in ("Änne", "Two", "Three")]
    await add_mail(services, await add_account(services), "Another's")
    page = (await client.get("/v1/mailbox?limit=2")).json()
    assert [mail["id"] for mail in page["data"]] == [ids[2], ids[1]]
    rest = await client.get("/v1/mailbox", params={"cursor": page["next_cursor"]})
    [mail] = rest.json()["data"]
    assert rest.json()["next_cursor"] is None
    assert mail == {
        "id": ids[0],
        "to": "owner@example.com",
        "from": "FormFlow <forms@example.com>",
        "subject": "New submission: Änne",
        "received_at": "2026-05-28T20:26:41.000Z",
        "size": mail["size"],
    }
    found = (await client.get(f"/v1/mailbox/{ids[0]}")).json()
    assert {name: found[name] for name in mail} == mail
    assert len(found["raw"]) == mail["size"]
    assert {"name": "Subject", "value": "New submission: Änne"} in found["headers"]
    assert "to Änne" in found["text"]
    assert "to Änne" in found["html"]


async def test_the_mailbox_is_for_those_who_may_do_everything(
    client: httpx.AsyncClient, services: Services, account: Account, clock: ManualClock
) -> None:
    mail_id = await add_mail(services, account)
    form = await add_form(services, account)
    all_rights = tuple(sorted(RIGHTS))
    for terms in (
        {"scopes": ("members:manage",)},
        {"scopes": tuple(right for right in all_rights if right != "forms:read")},
        {"scopes": all_rights, "allowed_forms": (form.id,)},
        {"scopes": all_rights, "environment": "production"},
    ):
        _, text = await services.keys.create(
            account.principal, "k", KeyKind.MANAGEMENT, dict[str, Any](terms)
        )
        for path in ("/v1/mailbox", f"/v1/mailbox/{mail_id}"):
            clock.advance(2)
            answer = await client.get(path, headers={"Authorization": f"Bearer {text}"})
            assert answer.status_code == 403, (terms, path)
            assert answer.json()["type"].endswith("/insufficient-scope")


async def test_anothers_mail_and_what_is_no_mail_are_missing(
    client: httpx.AsyncClient, services: Services, account: Account
) -> None:
    mine = await add_mail(services, account)
    theirs = await add_mail(services, await add_account(services))
    assert (await client.get(f"/v1/mailbox/{mine}")).status_code == 200
    for id in (theirs, new_id("mail", 1), "mail_..", "..", "mail_%2e%2e%2fsecret-key", f"{mine}.x"):
        assert (await client.get(f"/v1/mailbox/{id}")).status_code == 404, id


async def test_with_an_smtp_server_there_is_no_mailbox(
    services: Services, account: Account
) -> None:
    mail_id = await add_mail(services, account)
    relaying = mailing(services, smtp_url=SecretStr("smtp://127.0.0.1:9"))
    async with client_of(relaying, account) as client:
        assert (await client.get("/v1/mailbox")).json() == {"data": [], "next_cursor": None}
        assert (await client.get(f"/v1/mailbox/{mail_id}")).status_code == 404


async def test_an_empty_mailbox_is_empty(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/mailbox")).json() == {"data": [], "next_cursor": None}


async def test_mails_are_files_for_their_owner_only_and_the_newest_are_kept(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "mails"
    mailbox, letter = FileMailbox(directory, kept=3), everywhere("x")
    ids = [new_id("whd", index) for index in range(5)]
    for id in ids:
        attempt = await mailbox.send(replace(letter, id=id))
        assert attempt.verdict is Verdict.DELIVERED
    assert sorted(path.name for path in directory.iterdir()) == [
        f"mail_{id.removeprefix('whd_')}.{letter.account_id}.eml" for id in ids[2:]
    ]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


async def test_a_disk_that_takes_nothing_makes_mails_wait(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mail").write_text("in the way")
    attempt = await FileMailbox(tmp_path / "mail").send(everywhere("x"))
    assert attempt.verdict is Verdict.AWAY
    log = capsys.readouterr()
    assert "mail cannot be written" in log.out + log.err


async def unsubscribe_path(services: Services, account: Account, form: Any) -> str:
    """The link of a mail to the form's first address, without its origin."""
    submission_id = await add_submission(services, form)
    await attempted(services, mail_about(form, submission_id))
    raw = await newest_raw(services.mailbox, account.principal.account_id)
    found = re.search(r"^List-Unsubscribe: <https://forms\.example\.com(/\S+)>\r$", raw, re.M)
    assert found is not None
    return found[1]


async def test_the_link_in_a_mail_ends_the_mails(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(
        services, account, name="<b>Shop</b>", notify_emails="Ada@example.com,bob@example.com"
    )
    path = await unsubscribe_path(services, account, form)
    assert "ada" not in path.lower()
    async with client_of(mailing(services), account) as client:
        del client.headers["authorization"]
        # Scanners of mail follow links: following one changes nothing.
        page = await client.get(path)
        assert page.status_code == 200
        assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert page.headers["cache-control"] == "no-store"
        assert "“&lt;b&gt;Shop&lt;/b&gt;” go to Ada@example.com." in page.text
        assert '<form method="post"><button>' in page.text
        held = await services.forms.get(account.principal, form.id)
        assert held.notify_emails == "Ada@example.com,bob@example.com"

        clock.advance(1)
        one_click = {"List-Unsubscribe": "One-Click"}
        done = await client.post(path, data=one_click)
        assert (done.status_code, "You are unsubscribed" in done.text) == (200, True)
        changed = await services.forms.get(account.principal, form.id)
        assert changed.notify_emails == "bob@example.com"
        assert changed.revision > held.revision
        assert changed.updated_at > held.updated_at

        again = await client.post(path)
        assert (again.status_code, again.text) == (200, done.text)
        assert "<button>" not in (await client.get(path)).text
        assert (await services.forms.get(account.principal, form.id)) == changed
        events = await client.get(
            f"/v1/audit-log?target={form.id}&action=form.unsubscribed", headers=account.headers
        )
    [event] = events.json()["data"]
    assert event["actor"]["kind"] == "anonymous"
    assert event["details"] == {"address": "Ada@example.com"}
    async with services.database.read() as connection:
        rows = (await connection.execute(outbox.select())).all()
    [notice] = [row for row in rows if row.event == FORM_UNSUBSCRIBED]
    assert (notice.account_id, notice.form_id) == (form.account_id, form.id)
    assert notice.details == '{"address":"Ada@example.com","form_name":"<b>Shop</b>"}'


async def test_a_link_that_is_not_ours_or_of_a_form_that_is_gone_does_nothing(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com,bob@example.com")
    path = await unsubscribe_path(services, account, form)
    other = await add_form(services, account, notify_emails="ada@example.com")
    query = path.partition("?")[2]
    forged = [
        path.replace(form.id, other.id),
        path[:-1] + ("0" if path[-1] != "0" else "1"),
        f"/v1/unsubscribe?form_id={form.id}&signature=é",
        f"/v1/unsubscribe?form_id=%00&{query.partition('&')[2]}",
    ]
    async with client_of(mailing(services), account) as client:
        for link in forged:
            for method in ("GET", "POST"):
                answer = await client.request(method, link)
                assert answer.status_code == 200, link
                assert "example.com" not in answer.text
        assert (await client.post("/v1/unsubscribe")).status_code == 422
        for one in (form, other):
            held = await services.forms.get(account.principal, one.id)
            assert held == one
        await services.forms.delete(account.principal, form.id)
        assert (await client.post(path)).status_code == 200


async def test_a_parameter_that_a_mail_program_adds_does_no_harm(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="ada@example.com")
    path = await unsubscribe_path(services, account, form)
    async with client_of(mailing(services), account) as client:
        assert (await client.post(f"{path}&utm_source=x")).status_code == 200
    assert (await services.forms.get(account.principal, form.id)).notify_emails == ""
