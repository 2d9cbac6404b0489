"""The services of one backend, made in one place."""

from collections.abc import Mapping
from dataclasses import dataclass

from backend.access import Access, Credentials, OperatorToken
from backend.accounts.letters import AccountLetters
from backend.accounts.service import AccountService
from backend.api_limits import ApiLimits
from backend.audit.refusals import Refusals
from backend.audit.service import AuditLog
from backend.caller import Callers
from backend.changes import ChangeFeed
from backend.db import Database
from backend.delivery.attempts import Kind, Sender
from backend.delivery.doorbell import Doorbell
from backend.delivery.service import DeliveryService
from backend.environments.service import EnvironmentService
from backend.files import FileStore, create_file_store
from backend.forms.config import FormConfigs
from backend.forms.service import FormService
from backend.forms.turnstile import TurnstileRules
from backend.gateways.seen import SeenGateways
from backend.idempotency.service import Idempotency
from backend.imports.files import ImportedFiles
from backend.imports.service import ImportService
from backend.internal.intake import Intake
from backend.keys.credentials import ApiKeyCredentials
from backend.keys.minting import MintingRules
from backend.keys.service import KeyService
from backend.keys.use import KeyUse
from backend.keys.verifier import HASH_COST, SecretHasher, Verifier
from backend.mail.mailbox import FileMailbox
from backend.mail.outlet import create_outlet
from backend.mail.sender import MailSender
from backend.mail.unsubscribe import UnsubscribeLinks, Unsubscriptions
from backend.members.service import MemberService
from backend.oidc.setup import ProviderServices, create_provider_services
from backend.outbound.client import OutboundClient
from backend.plans.catalogue import Plans, load_plans
from backend.probes.service import ProbeService
from backend.removal.retention import Retention
from backend.removal.service import Removal
from backend.sealing import Sealer
from backend.sessions.credentials import SessionCredentials
from backend.sessions.desk import SignInDesk
from backend.sessions.service import SessionService
from backend.sessions.sign_in import SignIn
from backend.sessions.sign_up import SignUp
from backend.sessions.use import SessionUse
from backend.submissions.links import FileLinks
from backend.submissions.service import SubmissionService
from backend.usage.reports import ApiCalls, ReportDesk
from backend.usage.service import UsageService
from backend.webhooks.sealed import WebhookSealer
from backend.webhooks.sender import WebhookSender
from backend.webhooks.service import WebhookService
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
    gateways: SeenGateways
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
    probes: ProbeService
    removal: Removal
    retention: Retention
    submissions: SubmissionService
    outbound: OutboundClient
    webhook_sender: WebhookSender
    webhooks: WebhookService
    deliveries: DeliveryService
    doorbell: Doorbell
    mail_sender: MailSender
    senders: Mapping[Kind, Sender]
    mailbox: FileMailbox | None
    unsubscriptions: Unsubscriptions
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
    sign_in: SignIn
    sign_in_desk: SignInDesk
    sessions: SessionService
    session_use: SessionUse
    identity_provider: ProviderServices | None


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
    doorbell = Doorbell()
    hasher = SecretHasher(hash_cost)
    refusals = Refusals(database, clock)
    verifier = Verifier(database, clock, hasher, refusals)
    key_use = KeyUse(database, clock)
    session_use = SessionUse(database, clock)
    kinds: list[Credentials] = [
        ApiKeyCredentials(verifier, key_use, refusals),
        SessionCredentials(database, session_use, refusals),
    ]
    if operator_token is not None:
        kinds.insert(0, OperatorToken(database, operator_token))
    plans = load_plans(settings)
    sealer = Sealer(settings)
    files = create_file_store(settings)
    links = FileLinks(settings, clock)
    outbound = OutboundClient(settings)
    webhook_sealer = WebhookSealer(sealer)
    outlet = create_outlet(settings, clock)
    unsubscribe_links = UnsubscribeLinks(settings)
    mail_sender = MailSender(settings, database, outlet, sealer, links, unsubscribe_links)
    webhook_sender = WebhookSender(database, outbound, webhook_sealer, links)
    removal = Removal(database, files, clock)
    turnstile = TurnstileRules(sealer, settings.turnstile_secret is not None)
    limiter = create_rate_limiter(settings.rate_limit_url, clock)
    letters = AccountLetters(settings, sealer)
    sign_up = SignUp(settings.sign_up == "open", plans.default)
    sign_in = SignIn(database, clock, letters, sign_up, refusals)
    usage_reports = ReportDesk(database, clock)
    return Services(
        settings=settings,
        clock=clock,
        database=database,
        feed=feed,
        gateways=SeenGateways(clock),
        hasher=hasher,
        verifier=verifier,
        key_use=key_use,
        access=Access(kinds, Callers(settings), refusals),
        api_limits=ApiLimits(limiter, database, plans, settings.api_anonymous_per_minute),
        idempotency=Idempotency(database, clock),
        refusals=refusals,
        audit=AuditLog(database, clock, settings.audit_retention_days),
        plans=plans,
        intake=Intake(database, plans, clock, feed, key_use, doorbell),
        form_configs=FormConfigs(settings, plans, sealer),
        forms=FormService(database, feed, clock, plans, turnstile, removal),
        probes=ProbeService(database, settings, clock),
        removal=removal,
        retention=Retention(database, clock, plans, removal),
        submissions=SubmissionService(database, files, clock, doorbell),
        outbound=outbound,
        webhook_sender=webhook_sender,
        webhooks=WebhookService(
            database, clock, settings, webhook_sealer, webhook_sender, doorbell
        ),
        deliveries=DeliveryService(database, clock, doorbell),
        doorbell=doorbell,
        mail_sender=mail_sender,
        senders={Kind.WEBHOOK: webhook_sender, Kind.MAIL: mail_sender},
        mailbox=outlet if isinstance(outlet, FileMailbox) else None,
        unsubscriptions=Unsubscriptions(database, feed, clock, unsubscribe_links, doorbell),
        imports=ImportService(database, clock),
        imported_files=ImportedFiles(database, files, plans, clock),
        files=files,
        links=links,
        keys=KeyService(
            database,
            feed,
            clock,
            hasher,
            verifier,
            MintingRules(plans, settings.key_mints_per_hour),
        ),
        accounts=AccountService(database, feed, plans, clock),
        members=MemberService(database, plans, clock, letters, limiter),
        environments=EnvironmentService(database, clock),
        usage=UsageService(database, plans, clock),
        usage_reports=usage_reports,
        api_calls=ApiCalls(usage_reports, clock),
        sign_in=sign_in,
        sign_in_desk=SignInDesk(sign_in, limiter, sealer),
        sessions=SessionService(database, clock, session_use),
        session_use=session_use,
        # The command line's own process signs nobody in.
        identity_provider=(
            create_provider_services(settings, database, clock, sealer, sign_up)
            if operator_token is None
            else None
        ),
    )
