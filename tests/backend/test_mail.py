"""Mails as those who get them read them."""

from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

import pytest

from backend.delivery.attempts import (
    Verdict,
)
from backend.mail.notification import VALUE_MAX
from backend.mail.words import size
from backend.management import Services
from contracts.ids import new_id
from tests.backend.builders import Account, add_form, add_submission
from tests.backend.file_builders import add_file_row, new_key, put
from tests.backend.form_builders import client_of
from tests.backend.mail_builders import (
    ORIGIN,
    PAYLOAD,
    attempted,
    mail_about,
    mail_of,
    mailing,
    newest_raw,
    parts_of,
)
from tests.support.clock import ManualClock

pytestmark = pytest.mark.asyncio


async def about(
    services: Services, account: Account, payload: Any = PAYLOAD, **members: Any
) -> EmailMessage:
    """The mail about a submission of the payload to a form of these members."""
    given = {"notify_emails": "owner@example.com"} | members
    form = await add_form(services, account, **given)
    submission_id = await add_submission(services, form, payload=payload)
    return await mail_of(services, form, mail_about(form, submission_id))


async def test_the_mail_about_a_submission(services: Services, account: Account) -> None:
    form = await add_form(
        services,
        account,
        name="Kontakt – Zoë’s",
        notify_emails="owner@example.com",
        fields=[{"name": "name", "label": "Your name"}],
    )
    submission_id = await add_submission(services, form, payload=PAYLOAD)
    delivery = mail_about(form, submission_id)
    message = await mail_of(services, form, delivery)
    unsubscribe = message["List-Unsubscribe"]
    assert dict(message.items()) == {
        "From": "FormFlow <forms@example.com>",
        "To": "owner@example.com",
        "Reply-To": "zoe@example.net",
        "Subject": "New submission: Kontakt – Zoë’s",
        "Date": "Thu, 28 May 2026 20:26:41 +0000",
        "Message-ID": f"<{delivery.id}@example.com>",
        "Auto-Submitted": "auto-generated",
        "List-Unsubscribe": unsubscribe,
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "MIME-Version": "1.0",
        "Content-Type": message["Content-Type"],
    }
    assert unsubscribe.startswith(f"<{ORIGIN}/v1/unsubscribe?form_id={form.id}&signature=")
    assert "owner" not in unsubscribe
    text, page = parts_of(message)
    assert text == (
        "New submission: Kontakt – Zoë’s\n"
        "Received 28 May 2026, 20:26 UTC\n"
        "\n"
        "Your name\n"
        "  Zoë <b>Ångström</b>\n"
        "\n"
        "email\n"
        "  zoe@example.net\n"
        "\n"
        "topic\n"
        "  sales\n"
        "  support\n"
        "\n"
        "phone\n"
        "  -\n"
        "\n"
        "message\n"
        "  Grüße,\n"
        "    zwei Zeilen.\n"
        "\n"
        "  Ende\n"
        "\n"
        "-- \n"
        f"{submission_id}\n"
        "Sent by FormFlow to owner@example.com, which this form notifies.\n"
        f"Unsubscribe: {unsubscribe.strip('<>')}\n"
    )
    assert "Zoë &lt;b&gt;Ångström&lt;/b&gt;" in page
    assert "Grüße,<br>  zwei Zeilen.<br><br>Ende" in page
    assert "<script" not in page
    assert "<img" not in page


async def test_files_are_links_that_work_for_a_week(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="owner@example.com")
    submission_id = await add_submission(services, form)
    key = new_key()
    await put(services.files, key, b"%PDF-1.7")
    await add_file_row(services, submission_id, object_key=key, name="<Plan>.pdf", size=8)
    mailing_services = mailing(services, public_url="http://backend")
    delivery = mail_about(form, submission_id)
    await mailing_services.mail_sender.send(delivery, clock.now_ms())
    raw = await newest_raw(services.mailbox, form.account_id)
    text, page = parts_of(message_from_string(raw, policy=policy.default))
    assert "  <Plan>.pdf (8 bytes)\n" in text
    assert "&lt;Plan&gt;.pdf</a>" in page
    url = next(line.strip() for line in text.splitlines() if "/files/" in line)
    client = client_of(mailing_services, account)
    client.headers.pop("authorization")
    clock.advance(6.9 * 24 * 3600)
    assert (await client.get(url)).content == b"%PDF-1.7"
    clock.advance(0.2 * 24 * 3600)
    assert (await client.get(url)).status_code == 404


async def test_without_a_public_origin_nothing_is_linked(
    services: Services, account: Account
) -> None:
    form = await add_form(services, account, notify_emails="owner@example.com")
    submission_id = await add_submission(services, form)
    await add_file_row(services, submission_id, name="plan.pdf")
    message = await mail_of(services, form, mail_about(form, submission_id), public_url=None)
    assert "List-Unsubscribe" not in message
    text, page = parts_of(message)
    assert "plan.pdf" in text
    assert "http" not in text
    assert "href" not in page


async def test_who_it_is_from_and_what_the_subject_says(
    services: Services, account: Account
) -> None:
    message = await about(
        services,
        account,
        name="Shop",
        from_address="Lädchen <shop@example.org>",
        subject_template="{{form.name}}: {{ field.topic }}/{{field.nothing}}/{{field.name}}",
    )
    assert message["From"] == "Lädchen <shop@example.org>"
    assert message["Subject"] == "Shop: sales, support//Zoë <b>Ångström</b>"
    assert message["Message-ID"].endswith("@example.org>")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ada@example.com", "ada@example.com"),
        (" ada@example.com\r\n", "ada@example.com"),
        ("ada@example.com, eve@example.com", None),
        ("Ada <ada@example.com>", None),
        (["ada@example.com", "eve@example.com"], None),
        ("ada@example.com\r\nBcc: eve@example.com", None),
        ("no address", None),
        ("", None),
    ],
)
async def test_a_reply_goes_to_the_visitor_who_left_one_address(
    services: Services, account: Account, value: Any, expected: str | None
) -> None:
    message = await about(services, account, {"email": value})
    assert message["Reply-To"] == expected
    assert message["Bcc"] is None


async def test_a_long_value_is_whole_up_to_a_bound(services: Services, account: Account) -> None:
    whole, longer = "w" * VALUE_MAX, "l" * (VALUE_MAX + 1_234)
    text, page = parts_of(await about(services, account, {"whole": whole, "longer": longer}))
    for part in (text, page):
        assert whole in part
        assert "l" * VALUE_MAX in part
        assert "l" * (VALUE_MAX + 1) not in part
        assert "… and 1,234 more characters, too many for a mail." in part


async def test_an_empty_submission_has_a_mail(services: Services, account: Account) -> None:
    text, page = parts_of(await about(services, account, {}))
    assert "Nothing was filled in." in text
    assert "Nothing was filled in." in page


async def test_what_is_not_wanted_any_more_is_obsolete(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="a@example.com,B@example.com")
    submission_id = await add_submission(services, form)
    spam = await add_submission(services, form, status="spam")
    delivery = mail_about(form, submission_id, recipient="b@example.com")

    async def verdict(of: Any) -> Verdict:
        return (await attempted(services, of)).verdict

    assert await verdict(delivery) is Verdict.DELIVERED
    assert await verdict(mail_about(form, spam)) is Verdict.OBSOLETE
    assert await verdict(mail_about(form, new_id("sub", 1))) is Verdict.OBSOLETE
    assert await verdict(mail_about(form, submission_id, recipient="x@example.com")) is (
        Verdict.OBSOLETE
    )
    assert await verdict(mail_about(form, submission_id, account_id=new_id("acc", 1))) is (
        Verdict.OBSOLETE
    )
    await services.forms.change(account.principal, form.id, {"notify_emails": "a@example.com"})
    assert await verdict(delivery) is Verdict.OBSOLETE
    await services.submissions.delete(account.principal, submission_id)
    assert await verdict(mail_about(form, submission_id)) is Verdict.OBSOLETE


async def test_an_attempt_after_another_is_the_same_mail(
    services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account, notify_emails="owner@example.com")
    delivery = mail_about(form, await add_submission(services, form))
    first = await mail_of(services, form, delivery)
    clock.advance(3_600)
    second = await mail_of(services, form, delivery)
    assert second["Message-ID"] == first["Message-ID"]
    assert second["Date"] != first["Date"]
    assert services.mailbox is not None
    assert len(await services.mailbox.newest(form.account_id, None, 10)) == 1


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (52_133, "52 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (12_345_678, "12 MB"),
        (5_000_000_000_000, "5000 GB"),
    ],
)
async def test_sizes_are_for_people(count: int, shown: str) -> None:
    assert size(count) == shown
