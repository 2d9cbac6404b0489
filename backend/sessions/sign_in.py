"""Links that sign in: once, for a quarter of an hour, whoever holds one."""

from dataclasses import dataclass

from backend.accounts.letters import SIGN_IN_MS, AccountLetters
from backend.accounts.store import first_account_id, owner_email
from backend.audit.actions import Actor, RefusalReason
from backend.audit.record import ANONYMOUS, NOWHERE, record_by
from backend.audit.refusals import Refusals
from backend.caller import Caller
from backend.db import Connection, Database
from backend.members.store import AddressTaken
from backend.sessions import store
from backend.sessions.beginning import NewSession, begin_session
from backend.sessions.sign_up import SignUp
from backend.sessions.store import LinkRow, UserRow
from backend.tokens import digest_of, is_token, mint_token
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

TOKEN_PREFIX = "ff_link_"  # noqa: S105 -- what every token begins with
_OPERATOR = Actor("operator")


@dataclass(frozen=True, slots=True)
class _NoGood:
    """Why a link does not sign in, and whose account it is of."""

    reason: RefusalReason
    account_id: str | None = None


class SignIn:
    """Makes links, and sessions of them.

    A link is of a member who has joined. Where everybody may sign up it may also be of an address
    that is nobody's yet: account and user are made when it is used, so that nobody can take an
    address that they do not read.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        letters: AccountLetters,
        sign_up: SignUp,
        refusals: Refusals,
    ) -> None:
        self._database = database
        self._clock = clock
        self._letters = letters
        self._sign_up = sign_up
        self._refusals = refusals

    async def send_link(self, email: str, caller: Caller) -> None:
        """Mails a link to an address, in lower case, if it is a member's or may sign up; else does
        nothing.

        Raises:
            Rejected: UNAVAILABLE.
            NoSecretKey: links cannot be sealed.
        """
        token, now_ms = mint_token(TOKEN_PREFIX), self._clock.now_ms()
        async with self._database.write() as connection:
            user = await store.find_user_of(connection, email)
            if user is None:
                # On behalf of whoever runs this server: there is no other account yet.
                account_id = await first_account_id(connection)
                if account_id is None or not await self._sign_up.admits(connection, email, now_ms):
                    return
                link = _link(token, caller, now_ms, email=email)
            else:
                account_id = user.account_id
                link = _link(token, caller, now_ms, user_id=user.id)
                await record_by(
                    connection, ANONYMOUS, account_id, "member.link_made", user.id, now_ms,
                    caller=caller,
                )  # fmt: skip
            await store.insert_link(connection, link)
            recipient = email if user is None else user.email
            await self._letters.send_sign_in(connection, account_id, recipient, token, now_ms)

    async def make_link(self, email: str | None) -> str | None:
        """The URL of a link for the operator of this server: of the member who has the address, by
        default of the first account's oldest owner. None if there is no such member."""
        async with self._database.write() as connection:
            if email is None:
                account_id = await first_account_id(connection)
                email = account_id and await owner_email(connection, account_id)
            user = await store.find_user_of(connection, email.lower()) if email else None
            if user is None:
                return None
            now_ms = self._clock.now_ms()
            return await self.make_link_in(connection, user.id, user.account_id, _OPERATOR, now_ms)

    async def make_link_in(
        self, connection: Connection, user_id: str, account_id: str, actor: Actor, now_ms: int
    ) -> str:
        """The URL of a link of a member, for a transaction that does more."""
        token = mint_token(TOKEN_PREFIX)
        await store.insert_link(connection, _link(token, NOWHERE, now_ms, user_id=user_id))
        await record_by(connection, actor, account_id, "member.link_made", user_id, now_ms)
        return self._letters.sign_in_url(token)

    async def use_link(self, token: str, caller: Caller) -> NewSession:
        """Signs in whoever the link is of. Of two requests at once one does.

        Raises:
            Rejected: NOT_FOUND, alike for a token that is unknown, used or expired; UNAVAILABLE.
        """
        found: NewSession | _NoGood = _NoGood("malformed")
        if is_token(token, TOKEN_PREFIX):
            try:
                found = await self._use_link(token, caller)
            except AddressTaken:
                # Another link of the same address signed it up at this moment.
                found = await self._use_link(token, caller)
        if isinstance(found, NewSession):
            return found
        self._refusals.note(caller, found.account_id, TOKEN_PREFIX, found.reason)
        raise Rejected(
            Problem.NOT_FOUND, "There is no such link, or it no longer works. Ask for a new one."
        )

    async def _use_link(self, token: str, caller: Caller) -> NewSession | _NoGood:
        token_hash = digest_of(token)
        async with self._database.write() as connection:
            now_ms = self._clock.now_ms()
            link = await store.use_link(connection, token_hash, now_ms)
            if link is None:
                return await _why_no_good(connection, token_hash)
            user = await self._user_of(connection, link, caller, now_ms)
            if user is None:
                return _NoGood("expired")
            return await begin_session(connection, user, caller, now_ms)

    async def _user_of(
        self, connection: Connection, link: LinkRow, caller: Caller, now_ms: int
    ) -> UserRow | None:
        if link.user_id is not None:
            return await store.find_user(connection, link.user_id)
        return await self._sign_up.find_or_add(connection, link.email or "", caller, now_ms)


def _link(
    token: str, caller: Caller, now_ms: int, user_id: str | None = None, email: str | None = None
) -> LinkRow:
    return LinkRow(
        token_hash=digest_of(token),
        created_at=now_ms,
        expires_at=now_ms + SIGN_IN_MS,
        address=caller.address,
        user_id=user_id,
        email=email,
    )


async def _why_no_good(connection: Connection, token_hash: str) -> _NoGood:
    link = await store.find_link(connection, token_hash)
    if link is None:
        return _NoGood("unknown")
    user = await store.find_user(connection, link.user_id) if link.user_id else None
    account_id = user.account_id if user else None
    return _NoGood("expired" if link.used_at is None else "used", account_id)
