"""An accepted post on its way to the store, and what became of it there.

None of these is changed once it is made; a frozen dataclass takes three times as long to make.
"""

from dataclasses import dataclass
from enum import Enum

from contracts.forms import QuotaState


class SubmissionStatus(Enum):
    """How a stored submission is filed."""

    RECEIVED = "received"
    SPAM = "spam"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a submission, in the store under ``object_key`` before the submission is sent.

    ``field`` is the input's name, ``name`` the safe file name, ``size`` in bytes, ``sha256`` hex.
    """

    id: str
    field: str
    name: str
    size: int
    content_type: str
    sha256: str
    object_key: str


@dataclass(slots=True)
class Submission:
    """One accepted post.

    ``id`` is minted by the gateway, so that sending it again is harmless: a known id is answered
    ``replayed``. ``payload``, ``meta`` and ``trace`` are JSON text, encoded once and stored as they
    are; in the payload each value is a string, or a list of strings for a repeated field.
    ``received_at`` is Unix milliseconds. ``key_id`` names the key that posted it, if one did.
    ``fingerprint`` is a digest of payload and files, sent with an idempotency key only.
    ``is_promised`` says that its client has an acknowledgement: it comes out of a spool, and is not
    refused for what has become of form, key and quota since. ``lease_id`` names the lease that
    covers it, if the account has a quota.
    """

    id: str
    form_id: str
    received_at: int
    status: str
    payload: str
    meta: str
    trace: str
    key_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    files: tuple[StoredFile, ...] = ()
    is_promised: bool = False
    lease_id: str | None = None


class ItemStatus(Enum):
    """What the commit did with one submission of a batch."""

    STORED = "stored"
    REPLAYED = "replayed"
    REJECTED = "rejected"


@dataclass(slots=True)
class ItemResult:
    """The commit's word on one submission of a batch, in the order of the batch.

    For a replay, ``id`` and ``received_at`` are those of the first, and ``is_mismatch`` says that
    its body was another. For a rejection, ``problem`` is the slug of the refusal, and ``quota``
    the state of a quota that is used up.
    """

    status: ItemStatus
    id: str
    received_at: int
    problem: str | None = None
    is_mismatch: bool = False
    quota: QuotaState | None = None


@dataclass(slots=True)
class Receipt:
    """What a success says: the submission, its form, its time, and how it came about.

    ``is_queued`` says that it is durable at the gateway and on its way to the backend.
    """

    submission_id: str
    form_id: str
    received_at: int
    is_replay: bool = False
    is_mismatch: bool = False
    is_queued: bool = False
