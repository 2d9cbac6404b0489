"""Idempotency keys at the gateway: one submission a key, and every caller gets its receipt.

The backend's commit decides (a unique row per form and key). Here, posts with one key that arrive
together wait for the first of them, and receipts of the last minutes are kept, so that a retry is
answered from memory. Not beyond the restoring of a backup: what that lacks is not stored any more.
The backend is asked *before* the commit only where a later check would refuse an honest retry: its
Turnstile token is spent, or the quota is used up.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import orjson

from contracts.forms import FormConfig
from contracts.internal import ChangesAnswer, IdempotencyQuestion, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.submissions import Receipt
from gateway.staging import Upload
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_RECEIPTS_MAX = 50_000
_RECEIPT_SECONDS = 600.0
_WAIT_SECONDS = 10.0


def fingerprint_of(payload: dict[str, str | list[str]], files: Sequence[Upload]) -> str:
    """What tells one body from another: fields whatever their order, and the files' digests."""
    digests = [(file.field, file.filename, file.sha256) for file in files]
    text = orjson.dumps([payload, digests], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


@dataclass(frozen=True, slots=True)
class _Known:
    """A receipt that is kept, with the body it was for."""

    receipt: Receipt
    fingerprint: str
    expires_at: float


class Claim:
    """The right to be the first post of a key, unless ``earlier`` is the first one's receipt.

    ``is_unsure`` says that there may be an earlier one after all: the backend could not be asked.
    """

    __slots__ = ("earlier", "is_unsure", "receipt")

    def __init__(self, earlier: Receipt | None = None) -> None:
        self.earlier = earlier
        self.is_unsure = False
        self.receipt: Receipt | None = None

    def bind(self, receipt: Receipt) -> Receipt:
        """Notes the receipt of a durable store; those who wait get it too."""
        self.receipt = receipt
        return receipt


class Idempotency:
    """Claims of keys at this gateway."""

    def __init__(self, upstream: Upstream, clock: Clock) -> None:
        self._upstream = upstream
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._claimed: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._epoch: str | None = None

    def __len__(self) -> int:
        """How many keys are in memory: those of receipts, and of posts under way."""
        return len(self._known) + len(self._claimed)

    @asynccontextmanager
    async def claim(
        self, form: FormConfig, key: str | None, fingerprint: str, *, asks_early: bool
    ) -> AsyncIterator[Claim]:
        """A claim for the block; without a key there is nothing to claim.

        Raises:
            Rejected: IDEMPOTENCY_MISMATCH on a strict form; UNAVAILABLE if the first post with
                the key does not end.
        """
        if key is None:
            yield Claim()
            return
        scope = (form.id, key)
        await self._turn(scope)
        known = self._find(scope)
        if known is not None:
            yield Claim(_judged(form, known.receipt, known.fingerprint != fingerprint))
            return
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._claimed[scope] = ended
        claim, epoch = Claim(), self._epoch
        try:
            if asks_early:
                await self._ask(claim, form, IdempotencyQuestion(form.id, key, fingerprint))
            yield claim
            if claim.receipt is not None and epoch == self._epoch:
                self._keep(scope, claim.receipt, fingerprint)
        finally:
            del self._claimed[scope]
            ended.set_result(None)

    def apply(self, changes: ChangesAnswer) -> None:
        """Takes over what the feed says: that the backend was restored."""
        if self._epoch not in {None, changes.epoch}:
            self._known.clear()
        self._epoch = changes.epoch

    async def _turn(self, scope: tuple[str, str]) -> None:
        """Waits while another post holds the key."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                while (ended := self._claimed.get(scope)) is not None:
                    await asyncio.shield(ended)
        except TimeoutError:
            raise unavailable(
                "Another post with this Idempotency-Key is still under way. Try again in a moment."
            ) from None

    async def _ask(self, claim: Claim, form: FormConfig, question: IdempotencyQuestion) -> None:
        """Asks the backend, where the answer spares a Turnstile token or a unit of the quota."""
        try:
            receipt = await self._upstream.find_receipt(question)
        except (UpstreamUnavailable, UndecodableMessage):
            # Whoever stores it, now or when the backend is back, finds the earlier one.
            claim.is_unsure = True
            return
        if receipt is not None:
            claim.earlier = _judged(form, receipt, receipt.is_mismatch)

    def _find(self, scope: tuple[str, str]) -> _Known | None:
        known = self._known.get(scope)
        return known if known and self._clock.monotonic() < known.expires_at else None

    def _keep(self, scope: tuple[str, str], receipt: Receipt, fingerprint: str) -> None:
        # A replay's own fingerprint is not the first one's: only the backend knows that.
        if receipt.is_replay:
            return
        expires_at = self._clock.monotonic() + _RECEIPT_SECONDS
        self._known[scope] = _Known(receipt, fingerprint, expires_at)
        if len(self._known) > _RECEIPTS_MAX:
            self._known.popitem(last=False)


def _judged(form: FormConfig, receipt: Receipt, is_mismatch: bool) -> Receipt:
    if is_mismatch and form.idempotency_strict:
        raise mismatch()
    return replace(receipt, is_replay=True, is_mismatch=is_mismatch)


def mismatch() -> Rejected:
    """The refusal of another body under a used key, on a form that is strict about it."""
    return Rejected(
        Problem.IDEMPOTENCY_MISMATCH,
        "This Idempotency-Key was used with another body. Use a new key for a new submission.",
    )
