"""Hands an accepted submission to the backend and waits for its commit."""

from contracts.internal import BATCH_ITEMS_MAX, UndecodableMessage
from contracts.problems import Problem, Rejected
from contracts.submissions import ItemResult, ItemStatus, Receipt, Submission
from gateway.batching import Batcher, QueueFull
from gateway.upstream import Upstream, UpstreamUnavailable, unavailable

_DETAILS = {
    Problem.FORM_NOT_FOUND: "There is no form at this address any more.",
    Problem.FORM_NOT_LIVE: "This form has just stopped taking submissions.",
    Problem.INVALID_KEY: "The API key has been revoked.",
}


class Forwarder:
    """Batches submissions to the backend; a receipt means that the submission is durable."""

    def __init__(self, upstream: Upstream) -> None:
        self._batcher: Batcher[Submission, ItemResult] = Batcher(
            upstream.commit, items_max=BATCH_ITEMS_MAX, senders=2
        )

    async def accept(self, submission: Submission) -> Receipt:
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
            problem = Problem.by_slug(result.problem or "")
            raise Rejected(problem, _DETAILS.get(problem, problem.title))
        return Receipt(
            result.id,
            submission.form_id,
            result.received_at,
            is_replay=result.status is ItemStatus.REPLAYED,
        )

    async def drained(self) -> None:
        """Returns when nothing is under way."""
        await self._batcher.drained()
