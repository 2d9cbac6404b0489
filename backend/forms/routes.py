"""HTTP of forms."""

from backend.forms.documents import (
    ChangeForm,
    CreateForm,
    DuplicateForm,
    Form,
    FormList,
    FormQuery,
)
from backend.operations import Call, Operation
from backend.paging import cut
from contracts.problems import Problem


async def list_forms(call: Call) -> FormList:
    query: FormQuery = call.query
    rows = await call.services.forms.list(
        call.principal,
        query.before("frm"),
        query.limit + 1,
        environment=query.environment,
        status=query.status,
    )
    page, next_cursor = cut(rows, query.limit)
    return FormList(data=[Form.of(row) for row in page], next_cursor=next_cursor)


async def create_form(call: Call) -> Form:
    members = call.body.model_dump(exclude_unset=True)
    return Form.of(await call.services.forms.create(call.principal, members))


async def get_form(call: Call) -> Form:
    return Form.of(await call.services.forms.get(call.principal, call.path["form_id"]))


async def change_form(call: Call) -> Form:
    changes = call.body.model_dump(exclude_unset=True)
    row = await call.services.forms.change(call.principal, call.path["form_id"], changes)
    return Form.of(row)


async def duplicate_form(call: Call) -> Form:
    named: DuplicateForm = call.body
    row = await call.services.forms.duplicate(
        call.principal, call.path["form_id"], named.name, named.slug
    )
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
        query=FormQuery,
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
        method="POST",
        path="/v1/forms/{form_id}/duplicate",
        handler=duplicate_form,
        summary="Copy a form's settings to a new form, without its submissions and webhooks",
        right="forms:write",
        body=DuplicateForm,
        answer=Form,
        status=201,
        problems=(Problem.CONFLICT,),
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
