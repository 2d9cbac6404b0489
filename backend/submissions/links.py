"""Links to files that work without a credential, for a while."""

import hmac

from starlette.requests import Request

from backend.answers import missing
from backend.sealing import signing_key
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings

LINK_SECONDS = 15 * 60
"""How long a link works, unless it is made to work longer."""


class FileLinks:
    """Signs links and checks them: HMAC-SHA256 over the ids and the Unix second of expiry."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._key = signing_key(settings, b"formflow file links")
        self._origin = settings.public_url or ""
        self._clock = clock

    def url(
        self,
        submission_id: str,
        file_id: str,
        lifetime_seconds: int = LINK_SECONDS,
        *,
        from_ms: int | None = None,
    ) -> str:
        """A link to a file, whose time begins at ``from_ms`` (Unix milliseconds), or now; only a
        path if the public origin is not known."""
        begins_ms = self._clock.now_ms() if from_ms is None else from_ms
        expires = str(begins_ms // 1000 + lifetime_seconds)
        path = f"/v1/submissions/{submission_id}/files/{file_id}"
        signature = self._sign(submission_id, file_id, expires)
        return f"{self._origin}{path}?expires={expires}&signature={signature}"

    def admits(self, request: Request) -> bool:
        """Whether the request has a valid signature; False if it has none at all.

        Raises:
            Rejected: NOT_FOUND, if it has one that is wrong or expired.
        """
        query = request.query_params
        if "signature" not in query and "expires" not in query:
            return False
        expires = query.get("expires", "")
        path = request.path_params
        signature = self._sign(path["submission_id"], path["file_id"], expires)
        is_ours = hmac.compare_digest(query.get("signature", "").encode(), signature.encode())
        # Only what was signed is known to be a number.
        if not is_ours or int(expires) <= self._clock.now_ms() // 1000:
            raise missing("file")
        return True

    def _sign(self, submission_id: str, file_id: str, expires: str) -> str:
        message = f"{submission_id}/{file_id}/{expires}".encode()
        return hmac.digest(self._key, message, "sha256").hex()
