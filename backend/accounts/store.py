"""Queries on accounts and users."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import accounts, forms, users


async def first_account_id(connection: AsyncConnection) -> str | None:
    """The oldest account, the one of whoever runs this server."""
    statement = select(accounts.c.id).order_by(accounts.c.created_at, accounts.c.id).limit(1)
    return (await connection.execute(statement)).scalar()


async def owner_email(connection: AsyncConnection, account_id: str) -> str | None:
    """The address of the account's oldest owner."""
    statement = (
        select(users.c.email)
        .where(users.c.account_id == account_id, users.c.role == "owner")
        .order_by(users.c.created_at, users.c.id)
        .limit(1)
    )
    return (await connection.execute(statement)).scalar()


async def form_id(connection: AsyncConnection, account_id: str, slug: str) -> str | None:
    """The id of the account's form of that slug, unless it is deleted."""
    statement = select(forms.c.id).where(
        forms.c.account_id == account_id, forms.c.slug == slug, forms.c.deleted_at.is_(None)
    )
    return (await connection.execute(statement)).scalar()


async def plan_of(connection: AsyncConnection, account_id: str) -> str:
    """The name of the account's plan. Raises NoResultFound."""
    statement = select(accounts.c.plan).where(accounts.c.id == account_id)
    return str((await connection.execute(statement)).scalar_one())


async def insert_account(
    connection: AsyncConnection, account_id: str, name: str, plan: str, now_ms: int
) -> None:
    """Adds an account."""
    await connection.execute(
        insert(accounts).values(id=account_id, name=name, plan=plan, created_at=now_ms)
    )


async def insert_owner(
    connection: AsyncConnection, user_id: str, account_id: str, email: str, now_ms: int
) -> None:
    """Adds an owner."""
    await connection.execute(
        insert(users).values(
            id=user_id, account_id=account_id, email=email, role="owner", created_at=now_ms
        )
    )
