"""Unsafe requests of the management API, done once for each idempotency key.

The scope of a key is a credential, a method and a path, as at the ingest endpoint it is a form: a
repeated request gets the first one's answer for 24 hours, whatever its body, and is told if that
differed. Only a success binds a key.

A key is claimed in a transaction of its own before the handler runs. The handler's transactions
then note in the claim, as part of themselves, that something was committed; the answer is kept in a
last one. So a crash leaves one of three things: a claim that committed nothing, which another
request may take over after a minute; a claim that committed, but whose answer is lost, whose key is
refused from then on because the change must not be made twice; or the answer.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.responses import Response

from backend.db import Connection, Database, joined_by
from backend.idempotency import store
from backend.idempotency.sealed import CredentialSealer, Request
from backend.idempotency.store import CLAIMED, COMMITTED, AnswerRow
from contracts.idempotency import BOUND_MS, MISMATCH_HEADER, REPLAYED_HEADER
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

ABANDONED_MS = 60_000
_WAIT_SECONDS = 10.0
_log = get_logger("backend")


class Idempotency:
    """Claims of keys in this process, and the answers that the database keeps."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._claimed: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def once(self, request: Request, perform: Callable[[], Awaitable[Response]]) -> Response:
        """The answer of ``perform``, or of the request that came first with the same key.

        Raises:
            Rejected: CONFLICT while the first one is under way, or if it changed something and its
                answer is lost; UNAVAILABLE; what ``perform`` raises.
        """
        sealer = CredentialSealer(request)
        scope = (request.account_id, sealer.key_digest())
        await self._turn(scope)
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._claimed[scope] = ended
        try:
            token = secrets.token_hex(16)
            wanted = AnswerRow(*scope, sealer.fingerprint(), CLAIMED, token, self._expiry_ms())
            first = await self._claim(wanted)
            if first is not None:
                return _replay(first, wanted, sealer)
            return await self._perform(wanted, sealer, perform)
        finally:
            del self._claimed[scope]
            ended.set_result(None)

    async def _turn(self, scope: tuple[str, str]) -> None:
        """Waits while another request of this process holds the key."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while (ended := self._claimed.get(scope)) is not None:
                    await asyncio.shield(ended)
        except TimeoutError:
            raise _under_way() from None

    async def _claim(self, wanted: AnswerRow) -> AnswerRow | None:
        """None once the key is claimed; otherwise what it is bound to."""
        now_ms = self._clock.now_ms()
        abandoned_ms = now_ms + BOUND_MS - ABANDONED_MS
        async with self._database.write() as connection:
            if await store.insert_claim(connection, wanted):
                return None
            if await store.take_over(connection, wanted, now_ms, abandoned_ms):
                return None
            first = await store.find(connection, wanted.account_id, wanted.key)
        if first is None:
            # Let go between the two statements, by another process.
            raise _under_way()
        return first

    async def _perform(
        self,
        claim: AnswerRow,
        sealer: CredentialSealer,
        perform: Callable[[], Awaitable[Response]],
    ) -> Response:
        mark = _Mark(claim)
        try:
            with joined_by(mark.join):
                answer = await perform()
        except BaseException as error:
            await asyncio.shield(self._let_go(claim, even_committed=_is_refusal(error)))
            raise
        finally:
            mark.is_open = False
        try:
            async with self._database.write() as connection:
                content = sealer.seal(answer)
                await store.keep_answer(
                    connection, claim, answer.status_code, content, self._expiry_ms()
                )
        except Rejected as error:
            # The change is made: the client shall know, even if a repetition will not.
            _log.error("an answer could not be kept for its idempotency key", error=str(error))
        return answer

    async def _let_go(self, claim: AnswerRow, *, even_committed: bool) -> None:
        try:
            async with self._database.write() as connection:
                await store.delete_claim(connection, claim, even_committed=even_committed)
        except Rejected as error:
            _log.warning("an idempotency key could not be let go", error=str(error))

    def _expiry_ms(self) -> int:
        return self._clock.now_ms() + BOUND_MS


@dataclass(slots=True)
class _Mark:
    """Joins the transactions of a request, while ``is_open``."""

    claim: AnswerRow
    is_open: bool = True

    async def join(self, connection: Connection) -> None:
        """Raises Rejected if another request has taken the key over: nothing is then committed."""
        if self.is_open and not await store.mark_committed(connection, self.claim):
            raise _under_way()


def _is_refusal(error: BaseException) -> bool:
    """Whether the handler decided to change nothing, rather than broke on its way."""
    return isinstance(error, Rejected) and error.problem.status < 500


def _replay(first: AnswerRow, repeated: AnswerRow, sealer: CredentialSealer) -> Response:
    if first.status == CLAIMED:
        raise _under_way()
    if first.status == COMMITTED:
        raise Rejected(
            Problem.CONFLICT,
            "The first request with this Idempotency-Key is still under way, or it was made but "
            "its answer is lost. If this persists, read what is there, and use a new key for "
            "whatever is missing.",
            headers={"Retry-After": "1"},
        )
    headers = {REPLAYED_HEADER: "true"}
    if first.fingerprint != repeated.fingerprint:
        headers[MISMATCH_HEADER] = "true"
    return sealer.unseal(first.content, headers)


def _under_way() -> Rejected:
    return Rejected(
        Problem.CONFLICT,
        "Another request with this Idempotency-Key is still under way. Try again in a moment.",
        headers={"Retry-After": "1"},
    )
