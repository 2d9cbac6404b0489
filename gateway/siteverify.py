"""The only client of Cloudflare's siteverify, which judges Turnstile tokens.

https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
"""

import asyncio
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpx
import orjson

from contracts.runtime.clock import Clock

CONNECTIONS_MAX = 256
FAILURES_MAX = 10
PAUSE_SECONDS = 5.0
_KEEP_ALIVE_SECONDS = 30.0
_ANSWER_BYTES_MAX = 65_536
_CODE = re.compile(r"[a-z0-9-]{1,64}")
_CODES_MAX = 10
_OUR_FAULT = frozenset({"missing-input-secret", "invalid-input-secret"})
_INTERNAL_ERROR = ("internal-error",)


class NoAnswer(Exception):
    """Turnstile did not judge a token; the message says why, without the secret or the token."""


class Unreachable(NoAnswer):
    """Nobody could have been answered: no connection, no answer in time, a 5xx."""


class Throttled(NoAnswer):
    """Turnstile is asked too often; asking again at once would only make it worse."""


@dataclass(frozen=True, slots=True)
class Question:
    """One token to judge. A token may be asked about again only with its first
    ``idempotency_key``, a UUID."""

    secret: str = field(repr=False)
    token: str = field(repr=False)
    client: str
    idempotency_key: str

    def form(self) -> dict[str, str]:
        """The fields of the request."""
        fields = {
            "secret": self.secret,
            "response": self.token,
            "idempotency_key": self.idempotency_key,
        }
        return fields | ({"remoteip": self.client} if _is_address(self.client) else {})


@dataclass(frozen=True, slots=True)
class Judgement:
    """Turnstile's word on a token."""

    is_passed: bool
    error_codes: tuple[str, ...]

    @property
    def is_our_fault(self) -> bool:
        """Whether the secret was refused, so that nothing is known about the token."""
        return not self.is_passed and not _OUR_FAULT.isdisjoint(self.error_codes)


class Breaker:
    """Stops asking once ``FAILURES_MAX`` in a row could not reach Turnstile; from then on one probe
    every ``PAUSE_SECONDS`` is let through.

    Answers that cannot be read do not count: a form's own secret may have brought them about, and
    all forms share the breaker.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._paused_until = 0.0

    def admits(self) -> bool:
        """Whether to ask now. A probe that never ends gives its place up after the pause."""
        if self._failures < FAILURES_MAX:
            return True
        if self._clock.monotonic() < self._paused_until:
            return False
        self._pause()
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        self._pause()

    def _pause(self) -> None:
        self._paused_until = self._clock.monotonic() + PAUSE_SECONDS


class Siteverify:
    """Asks at most twice, within ``budget_seconds`` in all and ``first_try_seconds`` at first."""

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport | None,
        *,
        budget_seconds: float,
        first_try_seconds: float,
    ) -> None:
        self._url = url
        self._budget_seconds = budget_seconds
        self._first_try_seconds = first_try_seconds
        self._client = httpx.AsyncClient(
            transport=transport,
            headers={"accept": "application/json", "accept-encoding": "identity"},
            timeout=None,  # noqa: S113 - every request runs within asyncio.timeout_at
            limits=httpx.Limits(
                max_connections=CONNECTIONS_MAX, keepalive_expiry=_KEEP_ALIVE_SECONDS
            ),
            follow_redirects=False,
            trust_env=False,
        )

    async def judge(self, question: Question) -> Judgement:
        """The judgement on a token. Raises NoAnswer."""
        started = asyncio.get_running_loop().time()
        try:
            return await self._ask(question, started + self._first_try_seconds)
        except Throttled:
            raise
        except NoAnswer:
            pass
        return await self._ask(question, started + self._budget_seconds)

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _ask(self, question: Question, deadline: float) -> Judgement:
        try:
            async with (
                asyncio.timeout_at(deadline),
                self._client.stream("POST", self._url, data=question.form()) as response,
            ):
                return _judgement(response.status_code, await _body_of(response))
        except TimeoutError:
            raise Unreachable("slow") from None
        except httpx.HTTPError as error:
            raise Unreachable(type(error).__name__) from None


async def _body_of(response: httpx.Response) -> bytes:
    # Unpacked, it could be a thousand times longer than what is counted.
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NoAnswer("answer compressed")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _ANSWER_BYTES_MAX:
            raise NoAnswer("answer too long")
    return bytes(body)


def _judgement(status: int, body: bytes) -> Judgement:
    is_success = httpx.codes.is_success(status)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        raise Throttled("status 429")
    if not is_success and not httpx.codes.is_client_error(status):
        raise Unreachable(f"status {status}")
    document = _object(body)
    is_passed = document.get("success")
    if not isinstance(is_passed, bool) or (is_passed and not is_success):
        raise NoAnswer(f"status {status}, unreadable")
    codes = _error_codes(document.get("error-codes"))
    if not is_passed and codes == _INTERNAL_ERROR:
        raise NoAnswer("internal-error")
    return Judgement(is_passed, codes)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _error_codes(value: Any) -> tuple[str, ...]:
    codes = value if isinstance(value, list) else []
    return tuple(code for code in codes if isinstance(code, str) and _CODE.fullmatch(code))[
        :_CODES_MAX
    ]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
