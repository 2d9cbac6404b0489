"""Delivery by mail: writes the mail anew for each attempt, and hands it to the outlet."""

from functools import partial
from typing import Any

import orjson

from backend.db import Database
from backend.delivery.attempts import (
    AUTORESPONSE,
    SUBMISSION_CREATED,
    Attempt,
    Delivery,
    Verdict,
)
from backend.delivery.subjects import Subject, find_subject
from backend.forms.mail import named_address
from backend.mail.autoresponse import autoresponse, autoresponse_recipient
from backend.mail.letter import Letter, NamedAddress
from backend.mail.notices import SEALED, is_lapsed, is_notice, notice
from backend.mail.notification import FileUrl, notification
from backend.mail.outlet import Outlet, server_address
from backend.mail.unsubscribe import UnsubscribeLinks
from backend.sealing import NoSecretKey, Sealer
from backend.submissions.links import FileLinks
from contracts.runtime.settings import Settings
from contracts.submissions import SubmissionStatus

FILE_LINK_SECONDS = 7 * 24 * 3600
"""How long the links to files in a mail work: mails are read later than pages."""


class MailSender:
    """A ``Sender``."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        outlet: Outlet,
        sealer: Sealer,
        file_links: FileLinks,
        unsubscribe_links: UnsubscribeLinks,
    ) -> None:
        """Raises SettingsError if FORMFLOW_MAIL_FROM is not an address."""
        self._database = database
        self._outlet = outlet
        self._sealer = sealer
        self._unsubscribe_links = unsubscribe_links
        self._from = server_address(settings)
        # A link without an origin leads nowhere.
        self._file_url = _file_url(file_links) if settings.public_url else None

    async def send(self, delivery: Delivery, now_ms: int) -> Attempt:
        """See ``Sender``. What cannot stand in a mail's header is refused."""
        try:
            return await self._send(delivery, now_ms)
        except ValueError as error:
            return Attempt(Verdict.REFUSED, error=f"No mail can be made of it: {error}.")

    async def _send(self, delivery: Delivery, now_ms: int) -> Attempt:
        if delivery.event in (SUBMISSION_CREATED, AUTORESPONSE):
            letter = await self._about_submission(delivery, now_ms)
            if letter is None:
                return Attempt(Verdict.OBSOLETE)
            return await self._outlet.send(letter)
        if not is_notice(delivery.event):
            return Attempt(Verdict.REFUSED, error=f"There is no mail about {delivery.event}.")
        try:
            details = self._details(delivery)
        except NoSecretKey:
            return Attempt(Verdict.REFUSED, error="FORMFLOW_SECRET_KEY is not what it was.")
        if is_lapsed(delivery, details, now_ms):
            return Attempt(Verdict.OBSOLETE)
        return await self._outlet.send(notice(delivery, details, self._from, now_ms))

    async def close(self) -> None:
        """Lets go of what the outlet holds open."""
        await self._outlet.close()

    async def _about_submission(self, delivery: Delivery, now_ms: int) -> Letter | None:
        """The mail; None if it is not wanted any more."""
        subject = await self._database.look(
            partial(
                find_subject,
                account_id=delivery.account_id,
                submission_id=delivery.submission_id or "",
            )
        )
        if subject is None or subject.submission.status != SubmissionStatus.RECEIVED.value:
            return None
        if delivery.event == AUTORESPONSE:
            return self._answer(delivery, subject, now_ms)
        return self._notification(delivery, subject, now_ms)

    def _answer(self, delivery: Delivery, subject: Subject, now_ms: int) -> Letter | None:
        form, payload = subject.form, orjson.loads(subject.submission.payload)
        recipient = autoresponse_recipient(payload) if form.autoresponse_enabled else None
        sender = self._sender_of(form.from_address)
        # What we receive ourselves might be posted again.
        if recipient is None or recipient.lower() == sender.address.lower():
            return None
        return autoresponse(delivery.id, form, payload, sender, recipient, now_ms)

    def _notification(self, delivery: Delivery, subject: Subject, now_ms: int) -> Letter | None:
        form, recipient = subject.form, delivery.recipient or ""
        if recipient.lower() not in form.notify_emails.lower().split(","):
            return None
        return notification(
            delivery.id,
            subject,
            self._sender_of(form.from_address),
            recipient,
            now_ms,
            file_url=self._file_url,
            unsubscribe_url=self._unsubscribe_links.url(form.id, recipient),
        )

    def _sender_of(self, from_address: str | None) -> NamedAddress:
        named = named_address(from_address) if from_address else None
        return NamedAddress(named[1], named[0]) if named else self._from

    def _details(self, delivery: Delivery) -> dict[str, Any]:
        """The event's details in clear. Raises NoSecretKey."""
        if delivery.event not in SEALED:
            return dict(delivery.details)
        details: dict[str, Any] = orjson.loads(self._sealer.unseal(str(delivery.details["sealed"])))
        return details


def _file_url(links: FileLinks) -> FileUrl:
    return lambda submission_id, id: links.url(submission_id, id, FILE_LINK_SECONDS)
