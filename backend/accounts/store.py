"""Queries on accounts and users."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, insert, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.environments.store import BUILT_IN, insert_environments
from backend.tables import accounts, api_keys, forms, users
from backend.transaction import Transaction

_owners = (
    select(users.c.email)
    .where(
        users.c.account_id == bindparam("of"),
        users.c.role == literal_column("'owner'"),
        users.c.joined_at.is_not(None),
    )
    .order_by(users.c.created_at, users.c.id)
)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as it is stored."""

    id: str
    name: str
    plan: str
    created_at: int


async def first_account_id(connection: AsyncConnection) -> str | None:
    """The oldest account, the one of whoever runs this server."""
    statement = select(accounts.c.id).order_by(accounts.c.created_at, accounts.c.id).limit(1)
    return (await connection.execute(statement)).scalar()


async def owner_email(connection: AsyncConnection, account_id: str) -> str | None:
    """The address of the account's oldest owner."""
    return next(iter(await owner_emails(connection, account_id)), None)


async def owner_emails(connection: AsyncConnection, account_id: str) -> list[str]:
    """The addresses of the account's owners who have joined, the oldest first."""
    return list((await connection.execute(_owners, {"of": account_id})).scalars())


def owner_emails_in(transaction: Transaction, account_id: str) -> list[str]:
    """As ``owner_emails``, for a transaction that is one synchronous function."""
    return [row.email for row in transaction.rows(_owners, {"of": account_id})]


async def form_id(connection: AsyncConnection, account_id: str, slug: str) -> str | None:
    """The id of the account's form of that slug, unless it is deleted."""
    statement = select(forms.c.id).where(
        forms.c.account_id == account_id, forms.c.slug == slug, forms.c.deleted_at.is_(None)
    )
    return (await connection.execute(statement)).scalar()


async def find_account(connection: AsyncConnection, account_id: str) -> AccountRow | None:
    """An account."""
    statement = select(accounts).where(accounts.c.id == account_id)
    row = (await connection.execute(statement)).first()
    return AccountRow(**row._mapping) if row else None


async def update_account(
    connection: AsyncConnection, account_id: str, values: dict[str, Any]
) -> None:
    """Changes an account."""
    await connection.execute(update(accounts).where(accounts.c.id == account_id).values(values))


async def stamp(connection: AsyncConnection, account_id: str, revision: int) -> None:
    """Makes the feed tell of every form of the account and of every key that is not revoked."""
    for table, is_over in ((forms, forms.c.deleted_at), (api_keys, api_keys.c.revoked_at)):
        await connection.execute(
            update(table)
            .where(table.c.account_id == account_id, is_over.is_(None))
            .values(revision=revision)
        )


async def plan_of(connection: AsyncConnection, account_id: str) -> str:
    """The name of the account's plan. Raises NoResultFound."""
    statement = select(accounts.c.plan).where(accounts.c.id == account_id)
    return str((await connection.execute(statement)).scalar_one())


async def insert_account(
    connection: AsyncConnection, account_id: str, name: str, plan: str, now_ms: int
) -> None:
    """Adds an account, with the environments that every account has."""
    await connection.execute(
        insert(accounts).values(id=account_id, name=name, plan=plan, created_at=now_ms)
    )
    await insert_environments(connection, account_id, BUILT_IN, now_ms)


async def insert_owner(
    connection: AsyncConnection, user_id: str, account_id: str, email: str, now_ms: int
) -> None:
    """Adds an owner."""
    await connection.execute(
        insert(users).values(
            id=user_id,
            account_id=account_id,
            email=email,
            role="owner",
            created_at=now_ms,
            joined_at=now_ms,
        )
    )
