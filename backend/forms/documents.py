"""What requests on forms carry, and what they are answered."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend.forms.fields import Enforce, Fields, FormField, form_field
from backend.forms.mail import (
    AutoresponseEnabled,
    AutoresponseMessage,
    AutoresponseSubject,
    FromAddress,
    NotifyEmails,
    SubjectTemplate,
)
from backend.forms.schemas import (
    AllowedOrigins,
    Environment,
    HoneypotField,
    Mode,
    OnOutage,
    RateLimit,
    RedirectHosts,
    RedirectUrl,
    RetentionDays,
    SilenceAlarm,
    Slug,
    Status,
    Strict,
    TurnstileKey,
)
from backend.forms.store import FormRow
from backend.operations import Body
from backend.paging import Page, PageQuery
from backend.schemas import Label, Time, without_defaults
from contracts.forms import FormStatus, TurnstileOnOutage
from contracts.runtime.clock import iso


def _without_false_defaults(schema: dict[str, Any]) -> None:
    """Leaves out the defaults that are not the same for every caller."""
    for name in ("environment", "mode", "notify_emails"):
        schema["properties"][name].pop("default")


class CreateForm(Body):
    """A form to create."""

    model_config = ConfigDict(json_schema_extra=_without_false_defaults)

    name: Label = Field(examples=["Contact"])
    slug: Slug | None = Field(
        None,
        description="The last part of the form's address; derived from the name if left out. "
        "It cannot be changed later.",
        examples=["contact"],
    )
    environment: Environment = "production"
    status: Status = "live"
    mode: Mode = "live"
    notify_emails: NotifyEmails = ""
    from_address: FromAddress | None = None
    subject_template: SubjectTemplate | None = None
    autoresponse_enabled: AutoresponseEnabled = False
    autoresponse_subject: AutoresponseSubject | None = None
    autoresponse_message: AutoresponseMessage | None = None
    redirect_url: RedirectUrl | None = None
    redirect_hosts: RedirectHosts = []
    allowed_origins: AllowedOrigins = []
    honeypot_enabled: bool = True
    honeypot_field: HoneypotField = "_gotcha"
    turnstile_enabled: bool | None = Field(
        None, description="By default on if there is a secret, of the form or of the server."
    )
    turnstile_site_key: TurnstileKey | None = None
    turnstile_secret: TurnstileKey | None = None
    turnstile_skip_with_key: bool = True
    turnstile_on_outage: OnOutage = "refuse"
    rate_limit_per_minute: RateLimit = 10
    idempotency_strict: Strict = False
    retention_days: RetentionDays | None = None
    fields: Fields = []
    enforce_fields: Enforce = False
    silence_alarm_enabled: SilenceAlarm = True


class ChangeForm(Body):
    """The members to change; those not named stay. A null clears a member that may be null."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    name: Label = ""
    environment: Environment = ""
    status: Status = "live"
    mode: Mode = "live"
    notify_emails: NotifyEmails = ""
    from_address: FromAddress | None = None
    subject_template: SubjectTemplate | None = None
    autoresponse_enabled: AutoresponseEnabled = False
    autoresponse_subject: AutoresponseSubject | None = None
    autoresponse_message: AutoresponseMessage | None = None
    redirect_url: RedirectUrl | None = None
    redirect_hosts: RedirectHosts = []
    allowed_origins: AllowedOrigins = []
    honeypot_enabled: bool = True
    honeypot_field: HoneypotField = ""
    turnstile_enabled: bool = False
    turnstile_site_key: TurnstileKey | None = None
    turnstile_secret: TurnstileKey | None = None
    turnstile_skip_with_key: bool = True
    turnstile_on_outage: OnOutage = "refuse"
    rate_limit_per_minute: RateLimit = 10
    idempotency_strict: Strict = False
    retention_days: RetentionDays | None = None
    fields: Fields = []
    enforce_fields: Enforce = False
    silence_alarm_enabled: SilenceAlarm = True


class DuplicateForm(Body):
    """The copy of a form."""

    name: Label | None = Field(
        None, description='"(copy)" is added to the name if left out.', examples=["Contact 2027"]
    )
    slug: Slug | None = Field(None, description="Derived from the name if left out.")


class FormQuery(PageQuery):
    """Which forms to list."""

    environment: Label | None = Field(None, description="Only those of this environment.")
    status: Literal["live", "paused", "draft"] | None = Field(
        None, description="Only those of this status."
    )


class Form(BaseModel):
    """A form."""

    id: str
    name: str
    slug: str
    environment: str
    status: FormStatus
    mode: Mode
    notify_emails: str
    from_address: str | None
    subject_template: str | None
    autoresponse_enabled: bool
    autoresponse_subject: str | None
    autoresponse_message: str | None
    redirect_url: str | None
    redirect_hosts: list[str]
    allowed_origins: list[str]
    honeypot_enabled: bool
    honeypot_field: str
    turnstile_enabled: bool
    turnstile_site_key: str | None
    has_turnstile_secret: bool = Field(
        description="Whether it has a secret of its own; nobody can read it."
    )
    turnstile_skip_with_key: bool
    turnstile_on_outage: TurnstileOnOutage
    rate_limit_per_minute: int
    idempotency_strict: bool
    retention_days: int | None
    fields: list[FormField]
    enforce_fields: bool
    silence_alarm_enabled: bool
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: FormRow) -> "Form":
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            slug=row.slug,
            environment=row.environment,
            status=FormStatus(row.status),
            mode="test" if row.mode == "test" else "live",
            notify_emails=row.notify_emails,
            from_address=row.from_address,
            subject_template=row.subject_template,
            autoresponse_enabled=row.autoresponse_enabled,
            autoresponse_subject=row.autoresponse_subject,
            autoresponse_message=row.autoresponse_message,
            redirect_url=row.redirect_url,
            redirect_hosts=list(row.redirect_hosts),
            allowed_origins=list(row.allowed_origins),
            honeypot_enabled=row.honeypot_enabled,
            honeypot_field=row.honeypot_field,
            turnstile_enabled=row.turnstile_enabled,
            turnstile_site_key=row.turnstile_site_key,
            has_turnstile_secret=row.turnstile_secret is not None,
            turnstile_skip_with_key=row.turnstile_skip_with_key,
            turnstile_on_outage=TurnstileOnOutage(row.turnstile_on_outage),
            rate_limit_per_minute=row.rate_limit_per_minute,
            idempotency_strict=row.idempotency_strict,
            retention_days=row.retention_days,
            fields=[form_field(field) for field in row.fields],
            enforce_fields=row.enforce_fields,
            silence_alarm_enabled=row.silence_alarm_enabled,
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
        )


class FormList(Page[Form]):
    """A page of forms."""
