"""Leaving the addresses that a form notifies, by the link in a mail."""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from backend.audit.record import ANONYMOUS, record_by
from backend.caller import Caller
from backend.changes import ChangeFeed, bump_revision
from backend.db import Connection, Database
from backend.delivery.attempts import FORM_UNSUBSCRIBED
from backend.delivery.doorbell import Doorbell
from backend.delivery.outbox import add_notice
from backend.forms.store import update_form
from backend.mail import store
from backend.sealing import signing_key
from contracts.ids import is_id
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings

PATH = "/v1/unsubscribe"


class UnsubscribeLinks:
    """Signs links: HMAC-SHA256 over the form's id and the address.

    The address itself is not in the link, and so in no log of a proxy: it is the one of the form's
    addresses whose signature the link has.
    """

    def __init__(self, settings: Settings) -> None:
        self._key = signing_key(settings, b"formflow unsubscribe links")
        self._origin = settings.public_url

    def url(self, form_id: str, address: str) -> str | None:
        """The link; None if the public origin is not known."""
        if self._origin is None:
            return None
        query = {"form_id": form_id, "signature": self.sign(form_id, address)}
        return f"{self._origin}{PATH}?{urlencode(query)}"

    def sign(self, form_id: str, address: str) -> str:
        """The signature, in hex."""
        message = f"{form_id}/{address.lower()}".encode()
        return hmac.digest(self._key, message, "sha256").hex()

    def find(self, form_id: str, signature: str, addresses: Iterable[str]) -> str | None:
        """The address that a signature is of."""
        for address in addresses:
            signed = self.sign(form_id, address)
            if hmac.compare_digest(signed.encode(), signature.encode()):
                return address
        return None


@dataclass(frozen=True, slots=True)
class Subscription:
    """A form and one of the addresses that it notifies."""

    form: store.NotifyingForm
    address: str


class Unsubscriptions:
    """What the links do."""

    def __init__(
        self,
        database: Database,
        feed: ChangeFeed,
        clock: Clock,
        links: UnsubscribeLinks,
        doorbell: Doorbell,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._links = links
        self._doorbell = doorbell

    async def find(self, form_id: str, signature: str) -> Subscription | None:
        """What a link would end; None if it has ended, or the link is not one of ours."""
        if not is_id(form_id, "frm"):
            return None
        async with self._database.read() as connection:
            return await self._find(connection, form_id, signature)

    async def end(self, form_id: str, signature: str, caller: Caller) -> None:
        """Takes the address out of the form's, and tells the owners. Does nothing if it is out, or
        the link is not one of ours."""
        if await self.find(form_id, signature) is None:
            return
        async with self._database.write() as connection:
            revision = await bump_revision(connection)
            found = await self._find(connection, form_id, signature)
            if found is None:
                return
            form, now_ms = found.form, self._clock.now_ms()
            rest = ",".join(one for one in form.addresses if one != found.address)
            stamps = {"revision": revision, "updated_at": now_ms}
            await update_form(connection, form_id, {"notify_emails": rest} | stamps)
            await record_by(
                connection,
                ANONYMOUS,
                form.account_id,
                "form.unsubscribed",
                form_id,
                now_ms,
                caller=caller,
                address=found.address,
            )
            await add_notice(
                connection,
                form.account_id,
                FORM_UNSUBSCRIBED,
                now_ms,
                form_id=form_id,
                address=found.address,
                form_name=form.name,
            )
        self._feed.announce()
        self._doorbell.ring()

    async def _find(
        self, connection: Connection, form_id: str, signature: str
    ) -> Subscription | None:
        form = await store.find_notifying_form(connection, form_id)
        if form is None:
            return None
        address = self._links.find(form_id, signature, form.addresses)
        return None if address is None else Subscription(form, address)
