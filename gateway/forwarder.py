"""Hands an accepted submission to the backend and waits for its commit."""

from collections.abc import Sequence

from contracts.forms import FormConfig
from contracts.internal import BATCH_ITEMS_MAX, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.submissions import ItemResult, ItemStatus, Receipt, Submission
from gateway.batching import Batcher, QueueFull
from gateway.idempotency import mismatch
from gateway.quota import QuotaCache, quota_exceeded
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_COMPLAINT_SECONDS = 1.0
_DETAILS = {
    Problem.FORM_NOT_FOUND: "There is no form at this address any more.",
    Problem.FORM_NOT_LIVE: "This form has just stopped taking submissions.",
    Problem.INVALID_KEY: "The API key has been revoked.",
}


class Forwarder:
    """Batches submissions to the backend; a receipt means that the submission is durable."""

    def __init__(self, upstream: Upstream, quota: QuotaCache, clock: Clock) -> None:
        self._upstream = upstream
        self._quota = quota
        self._clock = clock
        self._log = get_logger("gateway")
        self._complained_at = float("-inf")
        self._batcher: Batcher[Submission, ItemResult] = Batcher(
            self._commit, items_max=BATCH_ITEMS_MAX, senders=2
        )

    async def accept(self, submission: Submission, form: FormConfig) -> Receipt:
        """Returns after the commit.

        Raises:
            Rejected: what the commit refused it for, or UNAVAILABLE.
        """
        try:
            result = await self._batcher.submit(submission)
        except QueueFull:
            raise unavailable("Too many posts are waiting. Try again in a moment.") from None
        except (UpstreamUnavailable, UndecodableMessage) as error:
            raise unavailable(
                "The submission could not be stored right now. Try again in a moment."
            ) from error
        if result.status is ItemStatus.REJECTED:
            raise self._refusal(result, form)
        is_replay = result.status is ItemStatus.REPLAYED and result.id != submission.id
        return Receipt(result.id, form.id, result.received_at, is_replay, result.is_mismatch)

    async def drained(self) -> None:
        """Returns when nothing is under way."""
        await self._batcher.drained()

    async def _commit(self, batch: Sequence[Submission]) -> Sequence[ItemResult]:
        try:
            return await self._upstream.commit(batch)
        except (UpstreamUnavailable, UndecodableMessage) as error:
            # An outage fails thousands of batches; a line a second says as much.
            now = self._clock.monotonic()
            if now - self._complained_at >= _COMPLAINT_SECONDS:
                self._complained_at = now
                self._log.warning("backend unavailable", error=str(error))
            raise

    def _refusal(self, result: ItemResult, form: FormConfig) -> Rejected:
        if result.quota is not None:
            self._quota.learn(form, result.quota)
            return quota_exceeded(result.quota)
        problem = Problem.by_slug(result.problem or "")
        if problem is Problem.IDEMPOTENCY_MISMATCH:
            return mismatch()
        return Rejected(problem, _DETAILS.get(problem, problem.title))
