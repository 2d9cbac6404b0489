"""Accounts that strangers make for themselves, where the operator lets them."""

from dataclasses import dataclass

from backend.accounts.roles import OWNER
from backend.accounts.store import insert_account
from backend.audit.actions import Actor
from backend.audit.record import record_by
from backend.caller import Caller
from backend.db import Connection
from backend.members.addresses import make_room
from backend.members.store import MemberRow, insert_member, is_address_free
from backend.sessions.store import UserRow, find_user, find_user_of
from contracts.ids import new_id


@dataclass(frozen=True, slots=True)
class SignUp:
    """Whether everybody may make an account of their own, and the name of its plan."""

    is_open: bool
    plan: str

    async def admits(self, connection: Connection, email: str, now_ms: int) -> bool:
        """Whether whoever reads an address, in lower case, may make an account."""
        return self.is_open and await is_address_free(connection, email, now_ms)

    async def find_or_add(
        self, connection: Connection, email: str, caller: Caller, now_ms: int
    ) -> UserRow | None:
        """The member, who has joined, of an address in lower case that whoever asks has shown to
        read; of a new account if there is none and strangers may make one, else None.

        Raises:
            AddressTaken: it was signed up at this moment; the transaction is spent.
        """
        # In this order: whom the first look finds in the way is there for the second.
        if await self.admits(connection, email, now_ms):
            return await find_user(connection, await self._add(connection, email, caller, now_ms))
        return await find_user_of(connection, email)

    async def _add(self, connection: Connection, email: str, caller: Caller, now_ms: int) -> str:
        """The id of the owner."""
        account_id, user_id = new_id("acc", now_ms), new_id("usr", now_ms)
        await insert_account(connection, account_id, email, self.plan, now_ms)
        await make_room(connection, account_id, email, now_ms)
        owner = MemberRow(
            id=user_id,
            account_id=account_id,
            email=email,
            role=OWNER,
            permissions=None,
            created_at=now_ms,
            invited_by=None,
            invite_hash=None,
            invite_expires_at=None,
            joined_at=now_ms,
        )
        await insert_member(connection, owner)
        actor = Actor("user", user_id)
        await record_by(
            connection, actor, account_id, "account.created", account_id, now_ms, caller=caller
        )
        return user_id
