"""The services of one backend, made in one place."""

from dataclasses import dataclass

from backend.access import Access
from backend.changes import ChangeFeed
from backend.db import Database
from backend.forms.service import FormService
from backend.keys.service import KeyService
from backend.keys.verifier import HASH_COST, SecretHasher, Verifier
from backend.submissions.service import SubmissionService
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """All that a handler may need."""

    settings: Settings
    clock: Clock
    database: Database
    feed: ChangeFeed
    hasher: SecretHasher
    verifier: Verifier
    access: Access
    forms: FormService
    submissions: SubmissionService
    keys: KeyService


def create_services(
    settings: Settings,
    clock: Clock,
    database: Database,
    operator_token: str | None = None,
    *,
    hash_cost: int = HASH_COST,
) -> Services:
    """The services on ``database``; ``operator_token`` makes its bearer the local operator."""
    feed = ChangeFeed(database)
    hasher = SecretHasher(hash_cost)
    verifier = Verifier(database, clock, hasher)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        feed=feed,
        hasher=hasher,
        verifier=verifier,
        access=Access(database, verifier, operator_token),
        forms=FormService(database, feed, clock),
        submissions=SubmissionService(database),
        keys=KeyService(database, feed, clock, hasher, verifier),
    )
