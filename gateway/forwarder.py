"""Gets an accepted submission stored: by the backend, or while that is away in the spool.

A receipt means that the submission is durable. What the backend answers for good is passed on;
what it does not answer, or answers with a failure of its own, is spooled, also where the request
may have arrived: the submission carries its id, so that sending it again is harmless.
"""

from collections.abc import Sequence

from contracts.forms import FormConfig
from contracts.internal import BATCH_ITEMS_MAX, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.submissions import ItemResult, ItemStatus, Receipt, Submission
from gateway.batching import Batcher, QueueFull
from gateway.fallback import Fallback
from gateway.idempotency import mismatch
from gateway.outage import Outage
from gateway.quota import QuotaCache, quota_exceeded
from gateway.uploads import Upload, send_files
from gateway.upstream import BATCH_SECONDS, Upstream, UpstreamUnavailable, unavailable

# At 10,000 posts a second they wait for a tenth of one.
_WAITING_MAX = 1_024
# Behind a backend that takes longer than a second over a batch fewer may: a post waits for its own
# batch, too, and all in all no longer than a call of the backend may take.
_WAIT_SECONDS_MAX = 2.0
_TOO_MANY = "Too many posts are waiting. Try again in a moment."
_NOT_NOW = "The submission could not be stored right now. Try again in a moment."
_DETAILS = {
    Problem.FORM_NOT_FOUND: "There is no form at this address any more.",
    Problem.FORM_NOT_LIVE: "This form has just stopped taking submissions.",
    Problem.INVALID_KEY: "The API key has been revoked.",
    Problem.INTERNAL: "The submission could not be stored, for a reason on our side.",
}


class Forwarder:
    """The way to the store."""

    def __init__(
        self, upstream: Upstream, quota: QuotaCache, outage: Outage, fallback: Fallback
    ) -> None:
        self._upstream = upstream
        self._quota = quota
        self._outage = outage
        self._fallback = fallback
        self._batcher: Batcher[Submission, ItemResult] = Batcher(
            self._commit,
            items_max=BATCH_ITEMS_MAX,
            senders=2,
            waiting_max=_WAITING_MAX,
            wait_seconds_max=_WAIT_SECONDS_MAX,
            deadline_seconds=BATCH_SECONDS,
        )

    async def _commit(self, batch: Sequence[Submission]) -> Sequence[ItemResult]:
        if self._fallback.shelter is not None and self._outage.is_on:
            # They waited behind the batch that failed: they need not wait for their own to fail.
            raise UpstreamUnavailable("the backend is away")
        return await self._upstream.commit(batch)

    def check_room(self) -> None:
        """Raises Rejected(UNAVAILABLE) if a post would not be taken now, before its body is read
        and judged for nothing."""
        if self._outage.is_on and self._fallback.shelter is not None:
            if not self._fallback.has_room:
                raise unavailable(_NOT_NOW)
        elif not self._batcher.has_room:
            raise unavailable(_TOO_MANY)

    async def accept(
        self, submission: Submission, form: FormConfig, uploads: Sequence[Upload]
    ) -> Receipt:
        """Returns when it is stored. ``submission`` names its files already.

        Raises:
            Rejected: what the commit refused it for, or UNAVAILABLE.
        """
        shelter = self._fallback.shelter
        if shelter is not None and self._outage.is_on:
            return await shelter.take_in(submission, form, uploads)
        try:
            await send_files(self._upstream, submission.files, uploads)
            result = await self._batcher.submit(submission)
        except QueueFull:
            raise unavailable(_TOO_MANY) from None
        except (UpstreamUnavailable, UndecodableMessage) as error:
            self._outage.begin(str(error))
            if shelter is None:
                raise unavailable(_NOT_NOW) from error
            return await shelter.take_in(submission, form, uploads)
        return self._receipt(submission, form, result)

    async def drained(self) -> None:
        """Returns when nothing is under way."""
        await self._batcher.drained()

    def _receipt(self, submission: Submission, form: FormConfig, result: ItemResult) -> Receipt:
        if self._fallback.shelter is None:
            self._outage.end()
        if result.status is ItemStatus.REJECTED:
            raise self._refusal(result, form)
        is_replay = result.status is ItemStatus.REPLAYED and result.id != submission.id
        return Receipt(result.id, form.id, result.received_at, is_replay, result.is_mismatch)

    def _refusal(self, result: ItemResult, form: FormConfig) -> Rejected:
        if result.quota is not None:
            self._quota.learn(form, result.quota)
            return quota_exceeded(result.quota)
        problem = Problem.by_slug(result.problem or "")
        if problem is Problem.IDEMPOTENCY_MISMATCH:
            return mismatch()
        return Rejected(problem, _DETAILS.get(problem, problem.title))
