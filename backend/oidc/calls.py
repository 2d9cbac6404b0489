"""Calls to the identity provider.

The operator names it, so that it may be in a private network. Redirects are not followed, no proxy
of the environment is used, cookies are not kept, and every call has a bound in time and in size.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import orjson

from backend.oidc.errors import ProviderUnreachable
from backend.outbound.connections import system_tls_context

CALL_SECONDS = 10.0
ANSWER_BYTES_MAX = 262_144
# A call that is cancelled in the middle of a TLS handshake leaks its socket: httpx itself gives
# up on one before the whole call's time is over.
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_ERROR_CODE = re.compile(r"[a-z_]{1,64}")
_LIMITS = httpx.Limits(max_connections=16, keepalive_expiry=30.0)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the provider answered; a body that is no JSON object is an empty one."""

    status: int
    document: Mapping[str, Any]

    @property
    def error(self) -> str:
        """The code of what the token endpoint found wrong (RFC 6749, 5.2)."""
        return error_code(self.document.get("error"))

    @property
    def is_refusal(self) -> bool:
        """Whether the provider says that a code or a refresh token is not good, or no longer.
        Whatever else goes wrong says nothing about it."""
        return self.status in (400, 401) and self.error == "invalid_grant"

    @property
    def summary(self) -> str:
        """Status and error, for the log."""
        return f"{self.status} {self.error}"


def error_code(value: object) -> str:
    """A code as the provider says it, if it looks like one."""
    return value if isinstance(value, str) and _ERROR_CODE.fullmatch(value) else "error"


class ProviderCalls:
    """Calls the provider. Certificates are verified by the system's authorities, or those that
    ``SSL_CERT_FILE`` names."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(
            verify=system_tls_context(),
            headers={"accept": "application/json", "accept-encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=_TIMEOUT,
            limits=_LIMITS,
            follow_redirects=False,
            trust_env=False,
        )

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Reply:
        """The answer to a GET. Raises ProviderUnreachable."""
        return await self._call("GET", url, headers or {})

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """The answer to a form. Raises ProviderUnreachable."""
        return await self._call("POST", url, headers, form)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _call(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        try:
            async with (
                asyncio.timeout(CALL_SECONDS),
                self._client.stream(method, url, headers=headers, data=form) as response,
            ):
                body = await _body_of(response)
        except (TimeoutError, httpx.TimeoutException):
            raise ProviderUnreachable("no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ProviderUnreachable(f"no answer: {type(error).__name__}") from None
        return Reply(response.status_code, _object(body))


async def _body_of(response: httpx.Response) -> bytes:
    # Unpacked, it could be a thousand times longer than what is counted.
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ProviderUnreachable("the answer is compressed")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES_MAX:
            raise ProviderUnreachable("the answer is too long")
    return bytes(body)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
