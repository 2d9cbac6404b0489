"""Queries on what mails go out for."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.tables import forms


@dataclass(frozen=True, slots=True)
class NotifyingForm:
    """A form, of whatever account, and the addresses that it notifies."""

    account_id: str
    name: str
    notify_emails: str

    @property
    def addresses(self) -> list[str]:
        """One by one."""
        return [address for address in self.notify_emails.split(",") if address]


async def find_notifying_form(connection: AsyncConnection, id: str) -> NotifyingForm | None:
    """A form that is not deleted, for whoever has a signature instead of a credential."""
    columns = (forms.c.account_id, forms.c.name, forms.c.notify_emails)
    statement = select(*columns).where(forms.c.id == id, forms.c.deleted_at.is_(None))
    row = (await connection.execute(statement)).first()
    return NotifyingForm(**row._mapping) if row else None
