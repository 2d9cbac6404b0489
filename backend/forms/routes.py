"""HTTP of forms."""

from pydantic import BaseModel, ConfigDict, Field

from backend.api import Body, Call, Operation
from backend.forms.schemas import (
    AllowedOrigins,
    HoneypotField,
    Mode,
    OnOutage,
    RateLimit,
    RedirectHosts,
    RedirectUrl,
    Slug,
    Status,
    Strict,
    TurnstileKey,
)
from backend.forms.store import FormRow
from backend.paging import Page, PageQuery, cut
from backend.schemas import Label, Time, without_defaults
from contracts.forms import FormStatus, TurnstileOnOutage
from contracts.problems import Problem
from contracts.runtime.clock import iso


class CreateForm(Body):
    """A form to create."""

    name: Label = Field(examples=["Contact"])
    slug: Slug | None = Field(
        None,
        description="The last part of the form's address; derived from the name if left out. "
        "It cannot be changed later.",
        examples=["contact"],
    )
    status: Status = "live"
    honeypot_enabled: bool = True
    honeypot_field: HoneypotField = "_gotcha"
    redirect_url: RedirectUrl | None = None
    redirect_hosts: RedirectHosts = []
    mode: Mode = "live"
    allowed_origins: AllowedOrigins = []
    rate_limit_per_minute: RateLimit = 10
    idempotency_strict: Strict = False
    turnstile_enabled: bool | None = Field(
        None, description="By default on if there is a secret, of the form or of the server."
    )
    turnstile_site_key: TurnstileKey | None = None
    turnstile_secret: TurnstileKey | None = None
    turnstile_skip_with_key: bool = True
    turnstile_on_outage: OnOutage = "refuse"


class ChangeForm(Body):
    """The members to change; those not named stay. A null clears a member that may be null."""

    model_config = ConfigDict(json_schema_extra=without_defaults)

    name: Label = ""
    status: Status = "live"
    honeypot_enabled: bool = True
    honeypot_field: HoneypotField = ""
    redirect_url: RedirectUrl | None = None
    redirect_hosts: RedirectHosts = []
    mode: Mode = "live"
    allowed_origins: AllowedOrigins = []
    rate_limit_per_minute: RateLimit = 10
    idempotency_strict: Strict = False
    turnstile_enabled: bool = False
    turnstile_site_key: TurnstileKey | None = None
    turnstile_secret: TurnstileKey | None = None
    turnstile_skip_with_key: bool = True
    turnstile_on_outage: OnOutage = "refuse"


class Form(BaseModel):
    """A form."""

    id: str
    name: str
    slug: str
    status: FormStatus
    honeypot_enabled: bool
    honeypot_field: str
    redirect_url: str | None
    redirect_hosts: list[str]
    mode: Mode
    allowed_origins: list[str]
    rate_limit_per_minute: int
    idempotency_strict: bool
    turnstile_enabled: bool
    turnstile_site_key: str | None
    turnstile_skip_with_key: bool
    turnstile_on_outage: TurnstileOnOutage
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: FormRow) -> "Form":
        """The answer for a row."""
        return cls(
            id=row.id,
            name=row.name,
            slug=row.slug,
            status=FormStatus(row.status),
            honeypot_enabled=row.honeypot_enabled,
            honeypot_field=row.honeypot_field,
            redirect_url=row.redirect_url,
            redirect_hosts=list(row.redirect_hosts),
            mode="test" if row.mode == "test" else "live",
            allowed_origins=list(row.allowed_origins),
            rate_limit_per_minute=row.rate_limit_per_minute,
            idempotency_strict=row.idempotency_strict,
            turnstile_enabled=row.turnstile_enabled,
            turnstile_site_key=row.turnstile_site_key,
            turnstile_skip_with_key=row.turnstile_skip_with_key,
            turnstile_on_outage=TurnstileOnOutage(row.turnstile_on_outage),
            created_at=iso(row.created_at),
            updated_at=iso(row.updated_at),
        )


class FormList(Page[Form]):
    """A page of forms."""


async def list_forms(call: Call) -> FormList:
    query: PageQuery = call.query
    rows = await call.services.forms.list(call.principal, query.before("frm"), query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    return FormList(data=[Form.of(row) for row in page], next_cursor=next_cursor)


async def create_form(call: Call) -> Form:
    members = call.body.model_dump()
    return Form.of(await call.services.forms.create(call.principal, members))


async def get_form(call: Call) -> Form:
    return Form.of(await call.services.forms.get(call.principal, call.path["form_id"]))


async def change_form(call: Call) -> Form:
    changes = call.body.model_dump(exclude_unset=True)
    row = await call.services.forms.change(call.principal, call.path["form_id"], changes)
    return Form.of(row)


async def delete_form(call: Call) -> None:
    await call.services.forms.delete(call.principal, call.path["form_id"])


operations = (
    Operation(
        method="GET",
        path="/v1/forms",
        handler=list_forms,
        summary="List forms, newest first",
        right="forms:read",
        query=PageQuery,
        answer=FormList,
    ),
    Operation(
        method="POST",
        path="/v1/forms",
        handler=create_form,
        summary="Create a form",
        right="forms:write",
        body=CreateForm,
        answer=Form,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/forms/{form_id}",
        handler=get_form,
        summary="Read a form",
        right="forms:read",
        answer=Form,
    ),
    Operation(
        method="PATCH",
        path="/v1/forms/{form_id}",
        handler=change_form,
        summary="Change the named members of a form",
        right="forms:write",
        body=ChangeForm,
        answer=Form,
    ),
    Operation(
        method="DELETE",
        path="/v1/forms/{form_id}",
        handler=delete_form,
        summary="Delete a form and its submissions; its slug stays taken for 30 days",
        right="forms:write",
        status=204,
    ),
)
