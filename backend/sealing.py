"""Encrypts what is stored but must be recoverable, with the installation's secret key."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from contracts.runtime.settings import Settings

_KEY_LENGTH_MIN = 16


class NoSecretKey(Exception):
    """FORMFLOW_SECRET_KEY is not set, or not the one that sealed this text."""


class Sealer:
    """Authenticated encryption (Fernet: AES-128-CBC and HMAC-SHA256) of short texts."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value() if settings.secret_key else ""
        self._fernet = Fernet(_derive(secret)) if len(secret) >= _KEY_LENGTH_MIN else None

    def seal(self, text: str) -> str:
        """The sealed text. Raises NoSecretKey."""
        return self._required().encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """The text. Raises NoSecretKey."""
        try:
            return self._required().decrypt(sealed).decode()
        except InvalidToken:
            raise NoSecretKey from None

    def _required(self) -> Fernet:
        if self._fernet is None:
            raise NoSecretKey
        return self._fernet


def _derive(secret: str) -> bytes:
    digest = hashlib.sha256(b"formflow sealing\0" + secret.encode()).digest()
    return base64.urlsafe_b64encode(digest)
