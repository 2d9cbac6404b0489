"""HTTP of forms."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backend.api import Body, Call, Operation
from backend.forms.schemas import HoneypotField, RedirectHosts, RedirectUrl, Slug, Status
from backend.forms.service import NewForm
from backend.forms.store import FormRow
from backend.paging import Page, PageQuery, cut
from backend.schemas import Label, Time
from contracts.forms import FormStatus
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


def _without_defaults(schema: dict[str, Any]) -> None:
    # The defaults only mark what was not named; a client must not take them for values.
    for member in schema["properties"].values():
        member.pop("default", None)


class ChangeForm(Body):
    """The members to change; those not named stay. A null clears `redirect_url`."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Label = ""
    status: Status = "live"
    honeypot_enabled: bool = True
    honeypot_field: HoneypotField = ""
    redirect_url: RedirectUrl | None = None
    redirect_hosts: RedirectHosts = []


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
    new = NewForm(**call.body.model_dump())
    return Form.of(await call.services.forms.create(call.principal, new))


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
