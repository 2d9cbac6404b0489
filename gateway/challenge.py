"""The Turnstile check: whether a visitor earned the token that came with a post.

A token is judged by Cloudflare, once. While Cloudflare cannot be asked, the form's setting decides,
and what a visitor sends must not be able to bring that about.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any
from uuid import uuid4

import httpx

from contracts.forms import TurnstileConfig, TurnstileOnOutage
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock, SystemClock
from contracts.runtime.telemetry import get_logger
from gateway.siteverify import (
    CONNECTIONS_MAX,
    PAUSE_SECONDS,
    Breaker,
    Judgement,
    NoAnswer,
    Question,
    Siteverify,
    Unreachable,
)

# Turnstile tokens are visible ASCII of at most 2,048 characters.
_TOKEN = re.compile(r"[!-~]{1,2048}")
_IN_FLIGHT_PER_FORM_MAX = 32
_TOKEN_SECONDS = 300.0
_UNSETTLED_MAX = 10_000


class ChallengeVerdict(Enum):
    """What becomes of a post that was not refused."""

    PASSED = "passed"
    HELD = "held"
    ACCEPTED_UNVERIFIED = "accepted-unverified"


_OUTAGE_VERDICTS = {
    TurnstileOnOutage.HOLD: ChallengeVerdict.HELD,
    TurnstileOnOutage.ACCEPT: ChallengeVerdict.ACCEPTED_UNVERIFIED,
}


class Challenge:
    """Judges tokens through siteverify, at most 3 s and two tries each by default."""

    def __init__(
        self,
        verify_url: str,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        *,
        budget_seconds: float = 3.0,
        first_try_seconds: float = 1.5,
    ) -> None:
        clock = clock or SystemClock()
        self._siteverify = Siteverify(
            verify_url,
            transport,
            budget_seconds=budget_seconds,
            first_try_seconds=first_try_seconds,
        )
        self._breaker = Breaker(clock)
        self._unsettled = _Unsettled(clock)
        self._passed = _Unsettled(clock)
        self._in_flight: Counter[str] = Counter()
        self._log = get_logger("gateway")

    async def verify(
        self, token: str | list[str] | None, config: TurnstileConfig, client: str, form_id: str
    ) -> ChallengeVerdict:
        """Judges a post by its ``cf-turnstile-response``; ``client`` is the visitor's address.

        Raises:
            Rejected: TURNSTILE_FAILED for a missing, malformed or refused token, with the member
                ``error-codes``; TURNSTILE_UNAVAILABLE if nobody can be asked and the form refuses
                then, or if too many tokens are being judged, whatever the form says.
        """
        text = _well_formed(token)
        with self._slot(form_id):
            if not self._breaker.admits():
                return _on_outage(config)
            judgement = await self._judge(text, config, client, form_id)
        if judgement is None:
            return _on_outage(config)
        if not judgement.is_passed:
            raise _failed(_detail_of(judgement), judgement.error_codes)
        return ChallengeVerdict.PASSED

    def give_back(self, token: str | list[str] | None, form_id: str) -> None:
        """Lets a token that passed be used once more: its post was not stored after all."""
        if isinstance(token, str):
            key = self._passed.take(form_id, token)
            if key is not None:
                self._unsettled.keep(form_id, token, key)

    async def close(self) -> None:
        """Closes the connections to siteverify."""
        await self._siteverify.close()

    async def _judge(
        self, token: str, config: TurnstileConfig, client: str, form_id: str
    ) -> Judgement | None:
        """Turnstile's judgement; None if there is none, which is logged."""
        key = self._unsettled.take(form_id, token) or str(uuid4())
        try:
            judgement = await self._siteverify.judge(Question(config.secret, token, client, key))
        except NoAnswer as failure:
            if isinstance(failure, Unreachable):
                self._breaker.failed()
            self._log.warning("turnstile gives no answer", form_id=form_id, reason=str(failure))
            if config.on_outage is TurnstileOnOutage.REFUSE:
                self._unsettled.keep(form_id, token, key)
            return None
        self._breaker.succeeded()
        if judgement.is_our_fault:
            self._log.error("turnstile refuses the form's secret: set it anew", form_id=form_id)
            return None
        if judgement.is_passed:
            self._passed.keep(form_id, token, key)
        return judgement

    @contextmanager
    def _slot(self, form_id: str) -> Iterator[None]:
        """A place among the tokens being judged. Raises Rejected, never the outage verdict: a flood
        of junk must not open the form."""
        if (
            self._in_flight[form_id] >= _IN_FLIGHT_PER_FORM_MAX
            or self._in_flight.total() >= CONNECTIONS_MAX
        ):
            raise _unavailable("Too many posts are being checked. Try again in a moment.")
        self._in_flight[form_id] += 1
        try:
            yield
        finally:
            self._in_flight[form_id] -= 1
            if not self._in_flight[form_id]:
                del self._in_flight[form_id]


class _Unsettled:
    """The idempotency keys of tokens that may be spent although their post was refused.

    Such a post may come again with its token, which Turnstile then judges as the first time. A key
    is taken out to be used, so that two posts at once do not share a token.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[bytes, tuple[str, float]] = {}

    def keep(self, form_id: str, token: str, key: str) -> None:
        if len(self._keys) >= _UNSETTLED_MAX:
            del self._keys[next(iter(self._keys))]
        self._keys[_digest(form_id, token)] = (key, self._clock.monotonic() + _TOKEN_SECONDS)

    def take(self, form_id: str, token: str) -> str | None:
        key, ends_at = self._keys.pop(_digest(form_id, token), (None, 0.0))
        return key if self._clock.monotonic() < ends_at else None


def _digest(form_id: str, token: str) -> bytes:
    return hashlib.sha256(f"{form_id}\0{token}".encode()).digest()


def _well_formed(token: str | list[str] | None) -> str:
    if not token:
        raise _failed(
            "The form came without a Turnstile token (cf-turnstile-response). Wait until the check "
            "on the page is done, then send the form again.",
            ("missing-input-response",),
        )
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise _failed(
            "The Turnstile token (cf-turnstile-response) is malformed. Send the one token of the "
            "widget, unchanged.",
            ("invalid-input-response",),
        )
    return token


def _detail_of(judgement: Judgement) -> str:
    if "timeout-or-duplicate" in judgement.error_codes:
        return (
            "The Turnstile check has expired or was used before. Do it again, then send the form."
        )
    return "Turnstile did not accept the check. Do it again on the page, then send the form."


def _failed(detail: str, error_codes: tuple[str, ...]) -> Rejected:
    members: dict[str, Any] = {"error-codes": list(error_codes)}
    return Rejected(Problem.TURNSTILE_FAILED, detail, **members)


def _on_outage(config: TurnstileConfig) -> ChallengeVerdict:
    if config.on_outage is TurnstileOnOutage.REFUSE:
        raise _unavailable("The Turnstile check cannot be made right now. Try again in a moment.")
    return _OUTAGE_VERDICTS[config.on_outage]


def _unavailable(detail: str) -> Rejected:
    retry_after = {"Retry-After": str(math.ceil(PAUSE_SECONDS))}
    return Rejected(Problem.TURNSTILE_UNAVAILABLE, detail, headers=retry_after)
