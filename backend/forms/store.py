"""Queries on forms."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.access import Reach
from backend.submissions.file_store import delete_files_of_form
from backend.tables import forms, idempotency_keys, submissions

_LISTS = ("redirect_hosts", "allowed_origins")


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
    revision: int
    created_at: int
    updated_at: int


_columns = [forms.c[field.name] for field in fields(FormRow)]


async def find_form(connection: AsyncConnection, account_id: str, id: str) -> FormRow | None:
    """A form of the account that is not deleted."""
    found = await connection.execute(select(*_columns).where(_is_live(account_id, id)))
    return next(_rows(found), None)


async def list_forms(
    connection: AsyncConnection, account_id: str, before: str | None, limit: int
) -> list[FormRow]:
    """The account's forms, newest first, those older than ``before``."""
    statement = select(*_columns).where(
        forms.c.account_id == account_id, forms.c.deleted_at.is_(None)
    )
    if before is not None:
        statement = statement.where(forms.c.id < before)
    return list(_rows(await connection.execute(statement.order_by(forms.c.id.desc()).limit(limit))))


async def insert_form(connection: AsyncConnection, form: FormRow) -> None:
    """Adds a form. Raises SlugTaken; the transaction is then spent."""
    try:
        await connection.execute(insert(forms).values(_stored(asdict(form))))
    except IntegrityError as error:
        raise SlugTaken(form.slug) from error


async def update_form(
    connection: AsyncConnection, account_id: str, id: str, values: dict[str, Any]
) -> FormRow | None:
    """Changes a form; None if there is no such form."""
    statement = update(forms).where(_is_live(account_id, id)).values(_stored(values))
    return next(_rows(await connection.execute(statement.returning(*_columns))), None)


async def lock_form(connection: AsyncConnection, account_id: str, id: str) -> bool:
    """Holds a form until the transaction ends, also against inserts of submissions (their foreign
    key shares the row); whether there is such a form."""
    statement = select(forms.c.id).where(_is_live(account_id, id)).with_for_update()
    return (await connection.execute(statement)).first() is not None


async def bury_form(connection: AsyncConnection, id: str, now_ms: int, revision: int) -> list[str]:
    """Deletes a form's submissions and leaves its row as a tombstone; returns the keys of the files
    that are to be deleted after the commit."""
    keys = await delete_files_of_form(connection, id)
    await connection.execute(delete(idempotency_keys).where(idempotency_keys.c.form_id == id))
    await connection.execute(delete(submissions).where(submissions.c.form_id == id))
    await connection.execute(
        update(forms)
        .where(forms.c.id == id)
        .values(deleted_at=now_ms, updated_at=now_ms, revision=revision)
    )
    return keys


async def taken_slugs(connection: AsyncConnection, start: str, freed_at: int) -> set[str]:
    """The slugs that begin with ``start`` and are in use, or were until after ``freed_at``."""
    statement = select(forms.c.slug).where(
        forms.c.slug.startswith(start, autoescape=True),
        forms.c.deleted_at.is_(None) | (forms.c.deleted_at > freed_at),
    )
    return set((await connection.execute(statement)).scalars())


async def clear_tombstone(connection: AsyncConnection, slug: str, freed_at: int) -> None:
    """Removes the row of a form of that slug that was deleted at ``freed_at`` or before."""
    await connection.execute(
        delete(forms).where(forms.c.slug == slug, forms.c.deleted_at <= freed_at)
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


def _is_live(account_id: str, id: str) -> ColumnElement[bool]:
    return (forms.c.id == id) & (forms.c.account_id == account_id) & forms.c.deleted_at.is_(None)


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    lists = {name: orjson.dumps(values[name]).decode() for name in _LISTS if name in values}
    return values | lists


def _rows(found: Iterable[Any]) -> Iterator[FormRow]:
    for row in found:
        lists = {name: tuple(orjson.loads(row._mapping[name])) for name in _LISTS}
        yield FormRow(**{**row._mapping, **lists})
