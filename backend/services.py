"""The services of one backend, made in one place."""

from dataclasses import dataclass

from backend.access import Access
from backend.changes import ChangeFeed
from backend.db import Database
from backend.files import FileStore, create_file_store
from backend.forms.config import FormConfigs
from backend.forms.service import FormService
from backend.forms.turnstile import TurnstileRules
from backend.internal.intake import Intake
from backend.keys.service import KeyService
from backend.keys.verifier import HASH_COST, SecretHasher, Verifier
from backend.plans.catalogue import Plans, load_plans
from backend.sealing import Sealer
from backend.submissions.links import FileLinks
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
    plans: Plans
    intake: Intake
    form_configs: FormConfigs
    forms: FormService
    submissions: SubmissionService
    files: FileStore
    links: FileLinks
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
    plans = load_plans(settings)
    sealer = Sealer(settings)
    files = create_file_store(settings)
    turnstile = TurnstileRules(sealer, settings.turnstile_secret is not None)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        feed=feed,
        hasher=hasher,
        verifier=verifier,
        access=Access(database, verifier, operator_token),
        plans=plans,
        intake=Intake(database, plans, clock, feed),
        form_configs=FormConfigs(settings, plans, sealer),
        forms=FormService(database, feed, clock, turnstile, files),
        submissions=SubmissionService(database, files),
        files=files,
        links=FileLinks(settings, clock),
        keys=KeyService(database, feed, clock, hasher, verifier),
    )
