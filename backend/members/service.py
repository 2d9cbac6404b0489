"""Rules of members: nobody gives what they do not have, and an owner remains."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from backend.access import EVERYTHING, Principal
from backend.accounts.letters import INVITATION_MS, AccountLetters
from backend.accounts.roles import OWNER, Grant
from backend.accounts.store import find_account, owner_email, plan_of
from backend.answers import missing, too_many
from backend.audit.actions import Actor
from backend.audit.record import NOWHERE, record, record_by
from backend.caller import Caller
from backend.db import Connection, Database
from backend.members import store
from backend.members.addresses import check_address, taken
from backend.members.store import AddressTaken, MemberRow
from backend.plans.catalogue import Plans
from backend.sessions.beginning import NewSession, begin_session
from backend.sessions.store import find_user
from backend.tokens import digest_of, mint_token
from contracts.ids import is_id, new_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.ratelimit import RateLimiter, Rule

INVITATIONS_PER_HOUR = 50
"""Of one account, with those that are renewed."""
_HOUR = 3600
TOKEN_PREFIX = "ff_inv_"  # noqa: S105 -- what every token begins with


@dataclass(frozen=True, slots=True)
class Joined:
    """Who has accepted an invitation, and the session that this began."""

    member: MemberRow
    session: NewSession


class MemberService:
    """The members of an account, and those invited.

    Whoever invites, changes or removes somebody has every right of theirs, before and after, on
    the whole account: a credential of one environment or of some forms manages no members, and one
    that is bound to networks or that ends removes them only. An invitation's token is shown once
    and mailed, where the server can seal mails; a digest of it is kept.
    """

    def __init__(
        self,
        database: Database,
        plans: Plans,
        clock: Clock,
        letters: AccountLetters,
        limiter: RateLimiter,
    ) -> None:
        self._database = database
        self._plans = plans
        self._clock = clock
        self._letters = letters
        self._limiter = limiter

    async def list(
        self, principal: Principal, before: str | None, limit: int
    ) -> Sequence[MemberRow]:
        """Members, newest first, and those invited."""
        async with self._database.read() as connection:
            return await store.list_members(connection, principal.account_id, before, limit)

    async def get(self, principal: Principal, id: str) -> MemberRow:
        """One member. Raises Rejected(NOT_FOUND)."""
        async with self._database.read() as connection:
            return await _find(connection, principal, id)

    async def invite(self, principal: Principal, email: str, grant: Grant) -> tuple[MemberRow, str]:
        """Somebody new with an invitation for 48 hours: the row, and the invitation's token.

        Raises Rejected: INSUFFICIENT_SCOPE, CONFLICT, RATE_LIMITED.
        """
        _require_power_to_grant(principal, grant.rights)
        await self._check_pace(principal)
        token, now_ms = mint_token(TOKEN_PREFIX), self._clock.now_ms()
        member = MemberRow(
            id=new_id("usr", now_ms),
            account_id=principal.account_id,
            email=email,
            role=grant.role,
            permissions=grant.permissions,
            created_at=now_ms,
            invited_by=principal.actor.id,
            invite_hash=digest_of(token),
            invite_expires_at=now_ms + INVITATION_MS,
            joined_at=None,
        )
        try:
            async with self._database.write() as connection:
                await store.lock_members(connection, principal.account_id)
                await self._check_room(connection, principal.account_id, now_ms)
                await check_address(connection, principal.account_id, email, now_ms)
                await store.insert_member(connection, member)
                await self._send(connection, principal, email, token, now_ms)
                await record(
                    connection, principal, "member.invited", member.id, now_ms, email=email,
                    role=grant.role,
                )  # fmt: skip
        except AddressTaken:
            raise taken() from None
        return member, token

    async def renew(self, principal: Principal, id: str) -> tuple[MemberRow, str]:
        """Another 48 hours, with a token that takes the place of the one before.

        Raises Rejected: NOT_FOUND, INSUFFICIENT_SCOPE, RATE_LIMITED, CONFLICT for somebody who has
        joined.
        """
        await self._check_pace(principal)
        token = mint_token(TOKEN_PREFIX)
        async with self._database.write() as connection:
            await store.lock_members(connection, principal.account_id)
            now_ms = self._clock.now_ms()
            member = await _find(connection, principal, id)
            _require_power_to_grant(principal, member.rights)
            if member.joined_at is not None:
                raise Rejected(Problem.CONFLICT, "This member has joined: there is no invitation.")
            if (member.invite_expires_at or 0) <= now_ms:
                # It did not count as a member any more.
                await self._check_room(connection, principal.account_id, now_ms)
            values = {"invite_hash": digest_of(token), "invite_expires_at": now_ms + INVITATION_MS}
            renewed = await _update(connection, principal, id, values)
            await self._send(connection, principal, member.email, token, now_ms)
            await record(
                connection, principal, "member.invited", id, now_ms, email=member.email,
                role=member.role, renewed=True,
            )  # fmt: skip
        return renewed, token

    async def change(self, principal: Principal, id: str, grant: Grant | None) -> MemberRow:
        """Gives a member another role, or a list of permissions; None changes nothing.

        Raises Rejected: NOT_FOUND, INSUFFICIENT_SCOPE, CONFLICT for the last owner.
        """
        async with self._database.write() as connection:
            await store.lock_members(connection, principal.account_id)
            member = await _find(connection, principal, id)
            if grant is None:
                return member
            _require_power_to_grant(principal, member.rights | grant.rights)
            if grant.role != OWNER:
                await _check_other_owners(connection, member)
            changed = await _update(connection, principal, id, asdict(grant))
            now_ms = self._clock.now_ms()
            await record(
                connection, principal, "member.changed", id, now_ms, role=grant.role,
                previous_role=member.role, permissions=grant.permissions,
            )  # fmt: skip
        return changed

    async def remove(self, principal: Principal, id: str) -> None:
        """Removes a member with their sessions, or takes an invitation back; keys that they made
        stay.

        Raises Rejected: NOT_FOUND, INSUFFICIENT_SCOPE, CONFLICT for the last owner.
        """
        async with self._database.write() as connection:
            await store.lock_members(connection, principal.account_id)
            member = await _find(connection, principal, id)
            _require_power_over(principal, member.rights)
            await _check_other_owners(connection, member)
            await store.delete_member(connection, principal.account_id, id)
            now_ms = self._clock.now_ms()
            await record(
                connection, principal, "member.removed", id, now_ms, email=member.email,
                role=member.role,
            )  # fmt: skip

    async def accept(self, token: str, caller: Caller = NOWHERE) -> Joined:
        """Makes whoever was sent this token a member, once, and signs them in.

        The token is found by its digest: how long that takes says nothing about tokens that exist.
        Raises Rejected(NOT_FOUND), alike for one that is unknown, used, replaced or expired.
        """
        async with self._database.write() as connection:
            now_ms = self._clock.now_ms()
            member = await store.accept_invitation(connection, digest_of(token), now_ms)
            if member is None:
                raise Rejected(
                    Problem.NOT_FOUND,
                    "There is no such invitation, or no longer. Ask for a new one.",
                )
            actor = Actor("user", member.id)
            await record_by(
                connection, actor, member.account_id, "member.joined", member.id, now_ms,
                caller=caller,
            )  # fmt: skip
            user = await find_user(connection, member.id)
            if user is None:
                raise missing("member")
            session = await begin_session(connection, user, caller, now_ms)
        return Joined(member, session)

    async def _send(
        self, connection: Connection, principal: Principal, email: str, token: str, now_ms: int
    ) -> None:
        """Mails an invitation. Where the server cannot seal mails, whoever invites passes on what
        the answer shows."""
        if not self._letters.can_send:
            return
        account_id = principal.account_id
        account = await find_account(connection, account_id)
        name = account.name if account else ""
        inviter = await find_user(connection, principal.user_id) if principal.user_id else None
        # A key invites for the account: its owner is whom people know.
        known = inviter.email if inviter else await owner_email(connection, account_id)
        await self._letters.send_invitation(
            connection, account_id, email, token, now_ms, account_name=name,
            invited_by=known or name,
        )  # fmt: skip

    async def _check_pace(self, principal: Principal) -> None:
        """Each is a mail, whose words are the account's, to whoever it names."""
        rule = Rule(f"invitations/{principal.account_id}", INVITATIONS_PER_HOUR, _HOUR)
        decision = await self._limiter.admit([rule])
        if not decision.is_admitted:
            raise too_many("invitations", decision.retry_after_seconds)

    async def _check_room(self, connection: Connection, account_id: str, now_ms: int) -> None:
        plan = self._plans.get(await plan_of(connection, account_id))
        count = await store.count_members(connection, account_id, now_ms)
        if plan.members is not None and count >= plan.members:
            raise Rejected(
                Problem.CONFLICT,
                f"The account's plan allows {plan.members} members, with those who are invited. "
                "Remove one first, or choose a larger plan.",
            )


def _require_power_over(principal: Principal, rights: frozenset[str]) -> None:
    for right in sorted(rights):
        principal.require(right)
    if principal.reach != EVERYTHING:
        raise Rejected(
            Problem.INSUFFICIENT_SCOPE,
            "This credential reaches a part of the account only, and members reach all of it: "
            "manage them with one that does, too.",
        )


def _require_power_to_grant(principal: Principal, rights: frozenset[str]) -> None:
    """As ``_require_power_over``; and what a member gets is neither of some networks nor of some
    time only."""
    _require_power_over(principal, rights)
    for member in ("allowed_ips", "expires_at"):
        if getattr(principal, member) is not None:
            raise Rejected(
                Problem.INSUFFICIENT_SCOPE,
                f"A member may not get more than the credential has, which is bound by {member}: "
                "use one that is not.",
                member=member,
            )


async def _find(connection: Connection, principal: Principal, id: str) -> MemberRow:
    if not is_id(id, "usr"):
        raise missing("member")
    member = await store.find_member(connection, principal.account_id, id)
    if member is None:
        raise missing("member")
    return member


async def _update(
    connection: Connection, principal: Principal, id: str, values: dict[str, object]
) -> MemberRow:
    member = await store.update_member(connection, principal.account_id, id, values)
    if member is None:
        raise missing("member")
    return member


async def _check_other_owners(connection: Connection, member: MemberRow) -> None:
    is_owner = member.role == OWNER and member.joined_at is not None
    if is_owner and await store.count_owners(connection, member.account_id) < 2:
        raise Rejected(
            Problem.CONFLICT, "This is the account's last owner. Make somebody else an owner first."
        )
