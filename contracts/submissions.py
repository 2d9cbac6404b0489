"""An accepted post on its way to the store, and what became of it there."""

from dataclasses import dataclass
from enum import Enum


class SubmissionStatus(Enum):
    """How a stored submission is filed."""

    RECEIVED = "received"
    SPAM = "spam"


@dataclass(frozen=True, slots=True)
class Submission:
    """One accepted post.

    ``id`` is minted by the gateway, so that sending it again is harmless: a known id is answered
    ``replayed``. ``payload`` and ``meta`` are JSON text, encoded once and stored as they are; in
    the payload each value is a string, or a list of strings for a repeated field. ``received_at``
    is Unix milliseconds. ``key_id`` names the key that posted it, if one did.
    """

    id: str
    form_id: str
    received_at: int
    status: str
    payload: str
    meta: str
    key_id: str | None = None


class ItemStatus(Enum):
    """What the commit did with one submission of a batch."""

    STORED = "stored"
    REPLAYED = "replayed"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The commit's word on one submission of a batch, in the order of the batch.

    For a replay, ``id`` and ``received_at`` are those of the first. For a rejection, ``problem``
    is the slug of the refusal.
    """

    status: ItemStatus
    id: str
    received_at: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a success says: the submission, its form, its time, and how it came about."""

    submission_id: str
    form_id: str
    received_at: int
    is_replay: bool = False
