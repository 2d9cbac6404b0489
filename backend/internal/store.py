"""Queries of the internal surface: forms, keys and recalls as gateways see them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.forms.config import FormConfigs
from backend.internal.lease_store import recalled_since
from backend.tables import accounts, api_keys, forms
from backend.transaction import SqlalchemyTransaction
from contracts.forms import FormConfig

# Beyond this many changes a gateway is better off looking up what it uses.
CHANGES_MAX = 1_000

_forms = select(forms, accounts.c.plan).join(accounts, accounts.c.id == forms.c.account_id)


async def forms_by_slug(
    connection: AsyncConnection, configs: FormConfigs, slugs: Sequence[str]
) -> dict[str, FormConfig | None]:
    """The form of each slug, or None."""
    rows = await connection.execute(
        _forms.where(forms.c.slug.in_(slugs), forms.c.deleted_at.is_(None))
    )
    found: dict[str, FormConfig | None] = dict.fromkeys(slugs)
    return found | {row.slug: configs.of(row) for row in rows}


async def forms_changed(
    connection: AsyncConnection, configs: FormConfigs, since: int
) -> dict[str, FormConfig | None] | None:
    """Each form changed after ``since``, None for a deleted one; None if there are too many."""
    rows = (
        await connection.execute(_forms.where(forms.c.revision > since).limit(CHANGES_MAX + 1))
    ).all()
    if len(rows) > CHANGES_MAX:
        return None
    return {row.slug: None if row.deleted_at is not None else configs.of(row) for row in rows}


async def keys_changed(connection: AsyncConnection, since: int) -> tuple[str, ...]:
    """The key ids created, changed, replaced or revoked after ``since``."""
    rows = await connection.execute(select(api_keys.c.key_id).where(api_keys.c.revision > since))
    return tuple(rows.scalars())


async def recalls(connection: AsyncConnection, since: int) -> dict[str, str]:
    """The leases recalled after ``since`` and not ended, each with its holder."""
    return await connection.run_sync(
        lambda sync: recalled_since(SqlalchemyTransaction(sync), since)
    )
