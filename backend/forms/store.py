"""Queries on forms."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Reach
from backend.tables import deliveries, forms, idempotency_keys, submissions
from backend.transaction import Transaction
from contracts.fields import DeclaredField, field_of

_LISTS = ("redirect_hosts", "allowed_origins", "fields")


class SlugTaken(Exception):
    """Another form has the slug."""


@dataclass(frozen=True, slots=True)
class FormRow:
    """A form that is not deleted, as it is stored; ``turnstile_secret`` is sealed."""

    id: str
    account_id: str
    slug: str
    name: str
    status: str
    honeypot_enabled: bool
    honeypot_field: str
    redirect_url: str | None
    redirect_hosts: tuple[str, ...]
    mode: str
    allowed_origins: tuple[str, ...]
    rate_limit_per_minute: int
    idempotency_strict: bool
    turnstile_enabled: bool
    turnstile_site_key: str | None
    turnstile_secret: str | None
    turnstile_skip_with_key: bool
    turnstile_on_outage: str
    environment: str
    notify_emails: str
    from_address: str | None
    subject_template: str | None
    autoresponse_enabled: bool
    autoresponse_subject: str | None
    autoresponse_message: str | None
    retention_days: int | None
    fields: tuple[DeclaredField, ...]
    enforce_fields: bool
    silence_alarm_enabled: bool
    revision: int
    created_at: int
    updated_at: int


_columns = [forms.c[field.name] for field in fields(FormRow)]
_flags = [field.name for field in fields(FormRow) if field.type is bool]
_form = select(*_columns).where(
    forms.c.account_id == bindparam("account"),
    forms.c.id == bindparam("the_id"),
    forms.c.deleted_at.is_(None),
)


async def find_form(
    connection: AsyncConnection, account_id: str, reach: Reach, id: str
) -> FormRow | None:
    """A form within reach."""
    condition = within(account_id, reach) & (forms.c.id == id)
    return next(_rows(await connection.execute(select(*_columns).where(condition))), None)


def find_form_in(transaction: Transaction, account_id: str, id: str) -> FormRow | None:
    """A form of an account."""
    found = transaction.rows(_form, {"account": account_id, "the_id": id})
    return next(_rows(found), None)


async def list_forms(
    connection: AsyncConnection,
    account_id: str,
    reach: Reach,
    before: str | None,
    limit: int,
    *,
    environment: str | None = None,
    status: str | None = None,
) -> list[FormRow]:
    """The forms within reach, newest first, those older than ``before``."""
    statement = select(*_columns).where(within(account_id, reach))
    if environment is not None:
        statement = statement.where(forms.c.environment == environment)
    if status is not None:
        statement = statement.where(forms.c.status == status)
    if before is not None:
        statement = statement.where(forms.c.id < before)
    return list(_rows(await connection.execute(statement.order_by(forms.c.id.desc()).limit(limit))))


async def insert_form(connection: AsyncConnection, form: FormRow) -> None:
    """Adds a form. Raises SlugTaken; the transaction is then spent."""
    try:
        await connection.execute(insert(forms).values(_stored(asdict(form))))
    except IntegrityError as error:
        raise SlugTaken(form.slug) from error


async def update_form(connection: AsyncConnection, id: str, values: dict[str, Any]) -> FormRow:
    """Changes a form, which this transaction knows to be there."""
    statement = update(forms).where(forms.c.id == id).values(_stored(values))
    return next(_rows(await connection.execute(statement.returning(*_columns))))


async def lock_form(
    connection: AsyncConnection, account_id: str, reach: Reach, id: str
) -> FormRow | None:
    """A form within reach, held until the transaction ends, also against inserts of submissions
    (their foreign key shares the row)."""
    condition = within(account_id, reach) & (forms.c.id == id)
    statement = select(*_columns).where(condition).with_for_update()
    return next(_rows(await connection.execute(statement)), None)


async def bury_form(connection: AsyncConnection, id: str, now_ms: int, revision: int) -> None:
    """Makes a form's row a tombstone: nothing of the form can be reached any more."""
    await connection.execute(
        update(forms)
        .where(forms.c.id == id)
        .values(deleted_at=now_ms, updated_at=now_ms, revision=revision)
    )


async def is_slug_taken(connection: AsyncConnection, slug: str, freed_at: int) -> bool:
    """Whether the slug is in use, or was until after ``freed_at``."""
    statement = select(forms.c.id).where(forms.c.slug == slug, _keeps_slug(freed_at))
    return (await connection.execute(statement)).first() is not None


async def taken_slugs(connection: AsyncConnection, start: str, freed_at: int) -> set[str]:
    """The slugs that begin with ``start`` and are in use, or were until after ``freed_at``."""
    statement = select(forms.c.slug).where(
        forms.c.slug.startswith(start, autoescape=True), _keeps_slug(freed_at)
    )
    return set((await connection.execute(statement)).scalars())


async def clear_tombstone(connection: AsyncConnection, slug: str) -> None:
    """Removes the row of a deleted form that had the slug, which is no longer taken."""
    await connection.execute(
        delete(forms).where(forms.c.slug == slug, forms.c.deleted_at.is_not(None))
    )


def has_rows() -> ColumnElement[bool]:
    """Whether something of a form is still there that was posted to it, or that came of it."""
    return or_(
        exists().where(submissions.c.form_id == forms.c.id),
        exists().where(idempotency_keys.c.form_id == forms.c.id),
        exists().where(
            literal_column("deliveries.form_id IS NOT NULL"), deliveries.c.form_id == forms.c.id
        ),
    )


def within(account_id: str, reach: Reach) -> ColumnElement[bool]:
    """Whether a form is the account's, not deleted, and within reach of a credential."""
    condition = (forms.c.account_id == account_id) & forms.c.deleted_at.is_(None)
    if reach.environment is not None:
        condition &= forms.c.environment == reach.environment
    if reach.form_ids is not None:
        condition &= forms.c.id.in_(reach.form_ids)
    if reach.is_sandbox:
        condition &= forms.c.mode == "test"
    return condition


def declared_fields(text: str | None) -> tuple[DeclaredField, ...]:
    """The declared fields of a row's column."""
    return tuple(field_of(field) for field in orjson.loads(text)) if text else ()


def _keeps_slug(freed_at: int) -> ColumnElement[bool]:
    # Rows that wait for their removal refer to the tombstone.
    return forms.c.deleted_at.is_(None) | (forms.c.deleted_at > freed_at) | has_rows()


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    lists = {name: orjson.dumps(values[name]).decode() for name in _LISTS if name in values}
    return values | lists


def _rows(found: Iterable[Any]) -> Iterator[FormRow]:
    for row in found:
        members = row._asdict()
        # The driver of SQLite knows no booleans.
        members |= {name: bool(members[name]) for name in _flags}
        members["redirect_hosts"] = tuple(orjson.loads(row.redirect_hosts))
        members["allowed_origins"] = tuple(orjson.loads(row.allowed_origins))
        members["fields"] = declared_fields(row.fields)
        yield FormRow(**members)
