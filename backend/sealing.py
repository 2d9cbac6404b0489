"""Encrypts what is stored but must be recoverable, with the installation's secret key, and makes
other keys of it."""

import base64
import hashlib
import hmac
import os

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

    @property
    def has_key(self) -> bool:
        """Whether there is a key to seal with."""
        return self._fernet is not None

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


def signing_key(settings: Settings, purpose: bytes) -> bytes:
    """A key for signatures of one purpose, the same in every backend: of the installation's secret
    key, else of the internal token; where there is neither, it is this process's own."""
    secret = settings.secret_key or settings.internal_token
    master = secret.get_secret_value().encode() if secret else os.urandom(32)
    return hmac.digest(master, purpose, "sha256")


def _derive(secret: str) -> bytes:
    digest = hashlib.sha256(b"formflow sealing\0" + secret.encode()).digest()
    return base64.urlsafe_b64encode(digest)
