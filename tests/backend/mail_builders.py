"""What mails are about, and services whose mails a test can read."""

from dataclasses import replace
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any

import orjson
from pydantic import SecretStr

from backend.delivery.attempts import SUBMISSION_CREATED, Attempt, Delivery, Kind, Verdict
from backend.delivery.subjects import Subject
from backend.forms.store import FormRow
from backend.mail.autoresponse import autoresponse
from backend.mail.letter import Letter, NamedAddress
from backend.mail.mailbox import FileMailbox
from backend.mail.notification import notification
from backend.management import Services, create_services
from backend.submissions.file_store import FileRow
from backend.submissions.store import SubmissionRow
from contracts.ids import new_id
from tests.backend.builders import Account, add_form, add_submission

ORIGIN = "https://forms.example.com"
SECRET_KEY = SecretStr("the-secret-key-of-the-mail-tests")
PAYLOAD = {
    "name": "Zoë <b>Ångström</b>",
    "email": "zoe@example.net",
    "topic": ["sales", "support"],
    "phone": "",
    "message": "Grüße,\r\n  zwei Zeilen.\n\nEnde",
}
SENDER = NamedAddress("forms@example.com", "FormFlow")
RECEIVED_AT = 1_780_000_000_000


def mailing(services: Services, **settings: Any) -> Services:
    """The services as they are with these settings, where the public origin is known."""
    usual = {
        "public_url": ORIGIN,
        "mail_from": "FormFlow <forms@example.com>",
        "secret_key": SECRET_KEY,
    }
    changed = services.settings.model_copy(update=usual | settings)
    return create_services(changed, services.clock, services.database, hash_cost=4)


def mail_about(form: FormRow, submission_id: str | None, **members: Any) -> Delivery:
    """A delivery of a submission to the form's first address, or of the event in ``members``."""
    given: dict[str, Any] = {
        "id": new_id("dlv", RECEIVED_AT),
        "account_id": form.account_id,
        "kind": Kind.MAIL,
        "event": SUBMISSION_CREATED,
        "created_at": RECEIVED_AT,
        "form_id": form.id,
        "submission_id": submission_id,
        "recipient": form.notify_emails.partition(",")[0],
    }
    return Delivery(**given | members)


async def attempted(services: Services, delivery: Delivery, **settings: Any) -> Attempt:
    """What comes of an attempt to write the mail to the services' mailbox."""
    sender = mailing(services, **settings).mail_sender
    return await sender.send(delivery, services.clock.now_ms())


async def add_mail(services: Services, account: Account, name: str = "Contact") -> str:
    """Writes a mail about a submission to the mailbox; returns its id."""
    form = await add_form(services, account, name=name, notify_emails="owner@example.com")
    submission_id = await add_submission(services, form, payload={"message": f"to {name}"})
    delivery = mail_about(form, submission_id, id=new_id("dlv", services.clock.now_ms()))
    await attempted(services, delivery)
    return f"mail_{delivery.id.partition('_')[2]}"


async def mail_of(
    services: Services, form: FormRow, delivery: Delivery, **settings: Any
) -> EmailMessage:
    """The mail that a delivery comes to."""
    attempt = await attempted(services, delivery, **settings)
    assert attempt.verdict is Verdict.DELIVERED, attempt
    raw = await newest_raw(services.mailbox, form.account_id)
    return message_from_string(raw, policy=policy.default)


async def newest_raw(mailbox: FileMailbox | None, account_id: str) -> str:
    """The newest mail of an account, as it would have gone out."""
    assert mailbox is not None
    [newest] = await mailbox.newest(account_id, None, 1)
    found = await mailbox.find(account_id, newest.id)
    assert found is not None
    return found.raw


def parts_of(message: EmailMessage) -> tuple[str, str]:
    """The text and the HTML, with plain line ends."""
    plain, page = (part.get_content().replace("\r\n", "\n") for part in message.iter_parts())
    return plain, page


def subject_of(payload: str, **members: Any) -> Subject:
    """A submission of this JSON to a form with these members, that no database has."""
    usual: dict[str, Any] = dict.fromkeys(FormRow.__dataclass_fields__)
    form = {
        "id": new_id("frm", RECEIVED_AT),
        "account_id": new_id("acc", RECEIVED_AT),
        "name": "Contact",
        "fields": (),
        "autoresponse_enabled": True,
    }
    submission: dict[str, Any] = {
        "id": new_id("sub", RECEIVED_AT),
        "form_id": form["id"],
        "received_at": RECEIVED_AT,
        "status": "received",
        "payload": payload,
        "meta": "{}",
        "trace": "[]",
        "charged": 1,
        "is_read": False,
        "key_id": None,
    }
    return Subject(SubmissionRow(**submission), FormRow(**usual | form | members), ())


def everywhere(text: str) -> Letter:
    """A mail with the text wherever other people's may be."""
    safe = text.encode(errors="replace").decode()
    payload = {safe: safe, "list": [safe, safe], "email": safe}
    # As it is posted: JSON escapes what it must.
    subject = subject_of(
        orjson.dumps(payload).decode(),
        name=text,
        subject_template="{{form.name}} {{field.list}}",
    )
    file = FileRow("fil_1", subject.submission.id, safe, text, 1, "text/html", "0", "k")
    return notification(
        "dlv_01jz8q6v4mq0c3e5r7t9w1y2a4",
        replace(subject, files=[file]),
        replace(SENDER, name=text),
        "owner@example.com",
        0,
        file_url=lambda submission_id, id: f"{ORIGIN}/{submission_id}/{id}?a=1&b=2",
        unsubscribe_url=f"{ORIGIN}/v1/unsubscribe?form_id=frm_1&signature=0",
    )


def answer(text: str) -> Letter:
    """An answer to a visitor with the text wherever it may be."""
    safe = text.encode(errors="replace").decode()
    template = "{{field.x}} {{form.name}}"
    subject = subject_of("{}", autoresponse_subject=template, autoresponse_message=template)
    return autoresponse("dlv_1", subject.form, {"x": safe}, SENDER, "ada@example.com", 0)
