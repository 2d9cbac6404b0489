"""What only the presented credential can tell of a request and its answer.

The disk must not: an answer may show a new key in full, and a body a secret. Two keys are derived
(HKDF, RFC 5869) from the credential, of which the database holds no more than a slow hash.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from starlette.responses import Response

_KEY_BYTES = 32
_INFO = b"formflow idempotency\0"
# Said anew with each answer, or of no meaning to the next one.
_NOT_KEPT = frozenset({"content-length"})


@dataclass(frozen=True, slots=True)
class Request:
    """What tells one unsafe request from another. ``document`` is its body and its query."""

    account_id: str
    credential: str
    idempotency_key: str
    address: str
    document: object


class CredentialSealer:
    """Digests and seals under keys of one credential."""

    def __init__(self, request: Request) -> None:
        info = _INFO + request.account_id.encode()
        kdf = HKDF(algorithm=SHA256(), length=2 * _KEY_BYTES, salt=None, info=info)
        keys = kdf.derive(request.credential.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(keys[:_KEY_BYTES]))
        self._digest_key = keys[_KEY_BYTES:]
        self._request = request

    def key_digest(self) -> str:
        """Stands for the credential, the address (method and path) and the idempotency key."""
        return self._digest([self._request.address, self._request.idempotency_key])

    def fingerprint(self) -> str:
        """Stands for the rest of the request, whatever the order of its members."""
        return self._digest(self._request.document)

    def seal(self, answer: Response) -> str:
        """The answer, for the disk."""
        headers = {name: value for name, value in answer.headers.items() if name not in _NOT_KEPT}
        document = [answer.status_code, headers, base64.b64encode(answer.body).decode()]
        return self._fernet.encrypt(orjson.dumps(document)).decode()

    def unseal(self, content: str, more_headers: Mapping[str, str]) -> Response:
        """The answer again, with ``more_headers``."""
        status, headers, body = orjson.loads(self._fernet.decrypt(content))
        return Response(base64.b64decode(body), status, {**headers, **more_headers})

    def _digest(self, document: object) -> str:
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        return hmac.digest(self._digest_key, text, hashlib.sha256).hex()
