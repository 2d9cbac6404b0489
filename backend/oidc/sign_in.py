"""Which member somebody is whom the provider has signed in, and their session here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.audit.actions import Actor
from backend.audit.record import record_by
from backend.caller import Caller
from backend.db import Connection, Database
from backend.members.store import AddressTaken
from backend.oidc import store
from backend.oidc.errors import SignInRefused
from backend.oidc.registration import Registration
from backend.oidc.store import TieRow
from backend.oidc.tokens import is_name
from backend.schemas import EmailAddress
from backend.sealing import Sealer
from backend.sessions.beginning import NewSession, begin_session
from backend.sessions.sign_up import SignUp
from backend.sessions.store import UserRow, find_user
from contracts.runtime.clock import Clock

REFRESH_MS = 5 * 60 * 1000
"""How long a session goes on without the provider's word that it may."""
_address: TypeAdapter[str] = TypeAdapter(EmailAddress)


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider has signed in: its ``subject``, in its session ``sid`` if it names one.
    ``email`` is in lower case; None if it says none."""

    subject: str
    sid: str | None
    email: str | None
    is_verified: bool

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> "Person":
        """The person that claims are about. Only ``true`` is verified: providers that say it
        otherwise say it of other things."""
        sid = claims.get("sid")
        try:
            email = _address.validate_python(claims.get("email"))
        except ValidationError:
            email = None
        return cls(
            subject=claims["sub"],
            sid=sid if is_name(sid) else None,
            email=email,
            is_verified=claims.get("email_verified") is True,
        )


class _Raced(Exception):
    """Another request linked the identity at this moment: everything has to be looked at anew."""


class ProviderSignIn:
    """Signs members in whom the provider vouches for.

    Whoever has signed in before is known by issuer and subject, which the provider never gives to
    anybody else. At the first time it is the address that says who somebody is, and only if the
    provider has verified it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        registration: Registration,
        sealer: Sealer,
        sign_up: SignUp,
    ) -> None:
        self._database = database
        self._clock = clock
        self._registration = registration
        self._sealer = sealer
        self._sign_up = sign_up

    async def begin(self, person: Person, refresh_token: str | None, caller: Caller) -> NewSession:
        """The session of whoever the person is here.

        Raises:
            SignInRefused: nobody, or it cannot be told.
            Rejected: UNAVAILABLE.
        """
        try:
            return await self._begin(person, refresh_token, caller)
        except (AddressTaken, _Raced):
            return await self._begin(person, refresh_token, caller)

    async def _begin(self, person: Person, refresh_token: str | None, caller: Caller) -> NewSession:
        issuer = self._registration.issuer
        async with self._database.write() as connection:
            now_ms = self._clock.now_ms()
            user_id = await store.find_user_id(connection, issuer, person.subject)
            user = await find_user(connection, user_id) if user_id else None
            if user is None:
                user = await self._link(connection, person, caller, now_ms)
            new = await begin_session(connection, user, caller, now_ms, issuer=issuer)
            sealed = self._sealer.seal(refresh_token) if refresh_token else None
            tie = TieRow(
                session_id=new.session.id,
                issuer=issuer,
                subject=person.subject,
                sid=person.sid,
                refresh_token=sealed,
                refresh_at=now_ms + REFRESH_MS if sealed else None,
            )
            await store.insert_tie(connection, tie)
        return new

    async def _link(
        self, connection: Connection, person: Person, caller: Caller, now_ms: int
    ) -> UserRow:
        """The member of a verified address, who has the identity from now on; raises SignInRefused
        if there is none."""
        email = self._verified_address(person)
        user = await self._sign_up.find_or_add(connection, email, caller, now_ms)
        if user is None:
            raise SignInRefused(
                f"Nobody who has joined here has the address {email}. If you are invited, accept "
                "the invitation first; otherwise ask an owner of the account for one."
            )
        issuer = self._registration.issuer
        if not await store.link_identity(connection, issuer, person.subject, user.id, now_ms):
            raise _Raced
        await record_by(
            connection,
            Actor("user", user.id),
            user.account_id,
            "member.linked",
            user.id,
            now_ms,
            caller=caller,
            issuer=issuer,
            subject=person.subject,
        )
        return user

    def _verified_address(self, person: Person) -> str:
        if person.email is None:
            raise SignInRefused(
                f"{self._registration.name} does not say which e-mail address is yours. Whoever "
                "runs it can let it tell this server (the scope email)."
            )
        if not person.is_verified:
            raise SignInRefused(
                f"{self._registration.name} has not verified that the address {person.email} is "
                "yours. Have it verified there, or sign in by a link in a mail."
            )
        return person.email
