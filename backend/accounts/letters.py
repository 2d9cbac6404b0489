"""Mails that let somebody in: a link to sign in with, an invitation.

What they say is sealed until they are sent: whoever reads the database must not get in.
"""

import orjson

from backend.db import Connection
from backend.delivery.attempts import ACCOUNT_INVITATION, ACCOUNT_SIGN_IN
from backend.delivery.outbox import add_letter
from backend.sealing import Sealer
from contracts.runtime.settings import Settings

_MINUTE_MS = 60 * 1000
_HOUR_MS = 60 * _MINUTE_MS
SIGN_IN_MS = 15 * _MINUTE_MS
"""How long a link signs in."""
INVITATION_MS = 48 * _HOUR_MS
"""How long an invitation can be accepted."""


class AccountLetters:
    """Writes them in the transaction that makes the token."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._origin = settings.public_origin()
        self._sealer = sealer

    @property
    def can_send(self) -> bool:
        """Whether there is a key to seal them with."""
        return self._sealer.has_key

    def sign_in_url(self, token: str) -> str:
        """The page that signs in with the token, once whoever reads it says so."""
        return f"{self._origin}/sign-in?token={token}"

    async def send_sign_in(
        self, connection: Connection, account_id: str, recipient: str, token: str, now_ms: int
    ) -> None:
        """A link to sign in with. Raises NoSecretKey."""
        details = {"link": self.sign_in_url(token), "minutes": SIGN_IN_MS // _MINUTE_MS}
        sealed = self._sealer.seal(orjson.dumps(details).decode())
        await add_letter(connection, account_id, ACCOUNT_SIGN_IN, recipient, sealed, now_ms)

    async def send_invitation(
        self,
        connection: Connection,
        account_id: str,
        recipient: str,
        token: str,
        now_ms: int,
        *,
        account_name: str,
        invited_by: str,
    ) -> None:
        """An invitation. Raises NoSecretKey."""
        details = {
            "link": f"{self._origin}/invitation?token={token}",
            "hours": INVITATION_MS // _HOUR_MS,
            "account_name": account_name,
            "invited_by": invited_by,
        }
        sealed = self._sealer.seal(orjson.dumps(details).decode())
        await add_letter(connection, account_id, ACCOUNT_INVITATION, recipient, sealed, now_ms)
