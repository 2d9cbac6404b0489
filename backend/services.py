"""The services of one backend, made in one place."""

from dataclasses import dataclass

from backend.access import Access, Credentials, OperatorToken
from backend.accounts.service import AccountService
from backend.api_limits import ApiLimits
from backend.audit.refusals import Refusals
from backend.audit.service import AuditLog
from backend.caller import Callers
from backend.changes import ChangeFeed
from backend.db import Database
from backend.environments.service import EnvironmentService
from backend.files import FileStore, create_file_store
from backend.forms.config import FormConfigs
from backend.forms.service import FormService
from backend.forms.turnstile import TurnstileRules
from backend.idempotency.service import Idempotency
from backend.imports.files import ImportedFiles
from backend.imports.service import ImportService
from backend.internal.intake import Intake
from backend.keys.credentials import ApiKeyCredentials
from backend.keys.minting import MintingRules
from backend.keys.service import KeyService
from backend.keys.use import KeyUse
from backend.keys.verifier import HASH_COST, SecretHasher, Verifier
from backend.members.service import MemberService
from backend.plans.catalogue import Plans, load_plans
from backend.removal.retention import Retention
from backend.removal.service import Removal
from backend.sealing import Sealer
from backend.submissions.links import FileLinks
from backend.submissions.service import SubmissionService
from backend.usage.reports import ApiCalls, ReportDesk
from backend.usage.service import UsageService
from contracts.runtime.clock import Clock
from contracts.runtime.ratelimit import create_rate_limiter
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
    key_use: KeyUse
    access: Access
    api_limits: ApiLimits
    idempotency: Idempotency
    refusals: Refusals
    audit: AuditLog
    plans: Plans
    intake: Intake
    form_configs: FormConfigs
    forms: FormService
    removal: Removal
    retention: Retention
    submissions: SubmissionService
    imports: ImportService
    imported_files: ImportedFiles
    files: FileStore
    links: FileLinks
    keys: KeyService
    accounts: AccountService
    members: MemberService
    environments: EnvironmentService
    usage: UsageService
    usage_reports: ReportDesk
    api_calls: ApiCalls


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
    refusals = Refusals(database, clock)
    verifier = Verifier(database, clock, hasher, refusals)
    key_use = KeyUse(database, clock)
    kinds: list[Credentials] = [ApiKeyCredentials(verifier, key_use, refusals)]
    if operator_token is not None:
        kinds.insert(0, OperatorToken(database, operator_token))
    plans = load_plans(settings)
    sealer = Sealer(settings)
    files = create_file_store(settings)
    removal = Removal(database, files, clock)
    turnstile = TurnstileRules(sealer, settings.turnstile_secret is not None)
    limiter = create_rate_limiter(settings.rate_limit_url, clock)
    usage_reports = ReportDesk(database, clock)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        feed=feed,
        hasher=hasher,
        verifier=verifier,
        key_use=key_use,
        access=Access(kinds, Callers(settings), refusals),
        api_limits=ApiLimits(limiter, database, plans, settings.api_anonymous_per_minute),
        idempotency=Idempotency(database, clock),
        refusals=refusals,
        audit=AuditLog(database, clock, settings.audit_retention_days),
        plans=plans,
        intake=Intake(database, plans, clock, feed, key_use),
        form_configs=FormConfigs(settings, plans, sealer),
        forms=FormService(database, feed, clock, plans, turnstile, removal),
        removal=removal,
        retention=Retention(database, clock, plans, removal),
        submissions=SubmissionService(database, files, clock),
        imports=ImportService(database, clock),
        imported_files=ImportedFiles(database, files, plans, clock),
        files=files,
        links=FileLinks(settings, clock),
        keys=KeyService(
            database,
            feed,
            clock,
            hasher,
            verifier,
            MintingRules(plans, settings.key_mints_per_hour),
        ),
        accounts=AccountService(database, feed, plans, clock),
        members=MemberService(database, plans, clock),
        environments=EnvironmentService(database, clock),
        usage=UsageService(database, plans, clock),
        usage_reports=usage_reports,
        api_calls=ApiCalls(usage_reports, clock),
    )
