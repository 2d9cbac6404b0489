"""API keys as credentials of the management API."""

from backend.access import Principal, invalid_key
from backend.audit.actions import Actor
from backend.audit.refusals import Refusals
from backend.caller import Caller
from backend.keys.terms import principal_of
from backend.keys.use import KeyUse
from backend.keys.verifier import Verifier
from contracts.addresses import is_address_in
from contracts.keys import KeyKind
from contracts.problems import Problem, Rejected

_PREFIXES = tuple(kind.prefix for kind in KeyKind)


class ApiKeyCredentials:
    """Keys of every kind; what a key may is in its principal."""

    def __init__(self, verifier: Verifier, use: KeyUse, refusals: Refusals) -> None:
        self._verifier = verifier
        self._use = use
        self._refusals = refusals

    def recognises(self, credential: str) -> bool:
        """See ``Credentials``."""
        return credential.startswith(_PREFIXES)

    async def authenticate(self, credential: str, caller: Caller) -> Principal:
        """Who calls with the key. Raises Rejected: INVALID_KEY, IP_NOT_ALLOWED, RATE_LIMITED,
        UNAVAILABLE."""
        key = await self._verifier.verify(credential, caller)
        if key is None:
            raise invalid_key()
        if key.allowed_ips is not None and not is_address_in(caller.address or "", key.allowed_ips):
            actor = Actor("key", key.id)
            self._refusals.note(caller, key.account_id, key.prefix, "ip-not-allowed", actor)
            raise Rejected(
                Problem.IP_NOT_ALLOWED,
                "The API key may not be used from this address. Call from one of the networks that "
                "its allowed_ips name, or change them.",
            )
        self._use.note((key.key_id,))
        return principal_of(key, caller)
