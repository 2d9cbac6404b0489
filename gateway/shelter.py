"""Takes submissions in while the backend is away: what may be promised is spooled, with a receipt.

A promise needs room in the spool and, where the account has a quota, a unit of a lease: nobody can
be asked now whether the month still has room.
"""

from collections.abc import Sequence
from dataclasses import replace

from contracts.forms import FormConfig
from contracts.runtime.failure import Failure
from contracts.submissions import Receipt, Submission, SubmissionStatus
from gateway.idempotency import mismatch
from gateway.leases import LeaseBook
from gateway.outage import Outage
from gateway.spool.spool import AlreadySpooled, Spool, SpoolError, SpoolFailed
from gateway.uploads import Upload
from gateway.upstream import unavailable

_NO_LEASE = (
    "The submission could not be stored right now, and its account's quota cannot be looked up. "
    "Try again in a moment."
)
_NO_ROOM = "The submission could not be stored right now. Try again in a moment."


class Shelter:
    """The spool's front."""

    def __init__(self, spool: Spool, leases: LeaseBook, outage: Outage, failure: Failure) -> None:
        self._spool = spool
        self._leases = leases
        self._outage = outage
        self._failure = failure

    async def take_in(
        self, submission: Submission, form: FormConfig, uploads: Sequence[Upload]
    ) -> Receipt:
        """Returns when the submission is durable here.

        Raises:
            Rejected: UNAVAILABLE; IDEMPOTENCY_MISMATCH on a strict form.
        """
        lease_id = self._lease(submission, form)
        promised = replace(submission, is_promised=True, lease_id=lease_id)
        try:
            earlier = await self._spool.put(
                promised, lease_id, [upload.kept() for upload in uploads]
            )
        except SpoolError as error:
            self._note(error, lease_id)
            raise unavailable(_NO_ROOM) from error
        self._outage.wake()
        if earlier is None:
            return Receipt(submission.id, form.id, submission.received_at, is_queued=True)
        self._leases.put_back(lease_id)
        return _replay(submission, form, earlier)

    def _note(self, error: SpoolError, lease_id: str | None) -> None:
        if isinstance(error, SpoolFailed) and error.is_final:
            # The row may be on the disk all the same, so that its unit stays taken.
            self._failure.set(str(error))
        else:
            self._leases.put_back(lease_id)

    def _lease(self, submission: Submission, form: FormConfig) -> str | None:
        if not form.has_quota or form.is_test or submission.status == SubmissionStatus.SPAM.value:
            return None
        lease_id = self._leases.take(form.account_id)
        if lease_id is None:
            raise unavailable(_NO_LEASE)
        return lease_id


def _replay(submission: Submission, form: FormConfig, earlier: AlreadySpooled) -> Receipt:
    is_mismatch = earlier.fingerprint != submission.fingerprint
    if is_mismatch and form.idempotency_strict:
        raise mismatch()
    return Receipt(
        earlier.submission_id, form.id, earlier.received_at, True, is_mismatch, is_queued=True
    )
