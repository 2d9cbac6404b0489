"""The identity provider: what it publishes of itself, and the requests that it answers."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

from joserfc.jwk import KeySet

from backend.oidc.calls import ProviderCalls, Reply
from backend.oidc.errors import ProviderUnreachable
from backend.oidc.kept import Kept
from backend.oidc.keys import key_set_of
from backend.oidc.registration import Registration
from contracts.runtime.clock import Clock

_WELL_KNOWN = "/.well-known/openid-configuration"
_OFFLINE_ACCESS = "offline_access"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What matters of a provider's metadata (OpenID Connect Discovery 1.0, 3). None of
    ``scopes`` is not said. ``names_itself``: every authorization response carries ``iss``."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    takes_basic: bool
    scopes: frozenset[str] | None
    names_itself: bool


class Provider:
    """Talks to the provider; its metadata and keys are kept for an hour."""

    def __init__(self, registration: Registration, calls: ProviderCalls, clock: Clock) -> None:
        self._registration = registration
        self._calls = calls
        self._metadata = Kept(self._fetch_metadata, clock)
        self._keys = Kept(self._fetch_keys, clock)

    @property
    def known_metadata(self) -> Metadata | None:
        """The metadata, if they have been fetched; without I/O."""
        return self._metadata.last

    async def metadata(self) -> Metadata:
        """The metadata. Raises ProviderUnreachable."""
        return await self._metadata.get()

    async def keys(self) -> KeySet:
        """The keys that the provider signs with. Raises ProviderUnreachable."""
        return await self._keys.get()

    async def newer_keys(self) -> KeySet:
        """The keys, fetched again unless that was done within a minute. Raises as ``keys``."""
        return await self._keys.get_newer()

    async def authorization_url(self, parameters: Mapping[str, str]) -> str:
        """The page that signs people in, for a code. Raises ProviderUnreachable."""
        metadata = await self.metadata()
        registration = self._registration
        query = {
            "response_type": "code",
            "client_id": registration.client_id,
            "redirect_uri": registration.redirect_uri,
            "scope": " ".join(_known_scopes(registration.scopes, metadata)),
            **parameters,
        }
        return _with_query(metadata.authorization_endpoint, query)

    async def redeem(self, code: str, verifier: str) -> Reply:
        """What the provider gives for a code. Raises ProviderUnreachable."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._registration.redirect_uri,
            "code_verifier": verifier,
        }
        return await self._ask_for_tokens(form)

    async def refresh(self, refresh_token: str) -> Reply:
        """What the provider gives for a refresh token. Raises ProviderUnreachable."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self._ask_for_tokens(form)

    async def user_info(self, access_token: str) -> Mapping[str, Any] | None:
        """The claims about whom the access token is of; None where there is no such endpoint.

        Raises:
            ProviderUnreachable
        """
        endpoint = (await self.metadata()).userinfo_endpoint
        if endpoint is None:
            return None
        reply = await self._calls.get(endpoint, {"authorization": f"Bearer {access_token}"})
        if reply.status != 200:
            raise ProviderUnreachable(f"the userinfo endpoint answered {reply.status}")
        return reply.document

    def sign_out_url(self) -> str | None:
        """The page that signs people out (RP-Initiated Logout 1.0, 2), if it is known."""
        metadata = self.known_metadata
        if metadata is None or metadata.end_session_endpoint is None:
            return None
        query = {
            "client_id": self._registration.client_id,
            "post_logout_redirect_uri": self._registration.post_logout_redirect_uri,
        }
        return _with_query(metadata.end_session_endpoint, query)

    async def close(self) -> None:
        """Closes the connections."""
        await self._calls.close()

    async def _ask_for_tokens(self, form: Mapping[str, str]) -> Reply:
        metadata = await self.metadata()
        form, headers = self._authenticated(form, metadata)
        return await self._calls.post(metadata.token_endpoint, form, headers)

    def _authenticated(
        self, form: Mapping[str, str], metadata: Metadata
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The form and the headers that say who asks (RFC 6749, 2.3.1)."""
        client_id, secret = self._registration.client_id, self._registration.client_secret
        if secret is None:
            return {**form, "client_id": client_id}, {}
        if not metadata.takes_basic:
            return {**form, "client_id": client_id, "client_secret": secret}, {}
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        credentials = base64.b64encode(pair.encode()).decode()
        return dict(form), {"authorization": f"Basic {credentials}"}

    async def _fetch_metadata(self) -> Metadata:
        reply = await self._calls.get(self._registration.issuer.rstrip("/") + _WELL_KNOWN)
        if reply.status != 200:
            raise ProviderUnreachable(f"its metadata were answered with {reply.status}")
        return _metadata_of(reply.document, self._registration)

    async def _fetch_keys(self) -> KeySet:
        reply = await self._calls.get((await self.metadata()).jwks_uri)
        if reply.status != 200:
            raise ProviderUnreachable(f"its keys were answered with {reply.status}")
        return key_set_of(reply.document)


def _metadata_of(document: Mapping[str, Any], registration: Registration) -> Metadata:
    """Raises ProviderUnreachable if the document does not describe this provider."""
    if document.get("issuer") != registration.issuer:
        raise ProviderUnreachable(
            "its metadata are of another issuer: FORMFLOW_OIDC_ISSUER must be exactly theirs"
        )

    def required(name: str) -> str:
        url = document.get(name)
        if not registration.is_endpoint(url):
            raise ProviderUnreachable(f"its metadata have no usable {name}")
        return str(url)

    def optional(name: str) -> str | None:
        return required(name) if document.get(name) is not None else None

    methods = document.get("token_endpoint_auth_methods_supported")
    scopes = document.get("scopes_supported")
    return Metadata(
        authorization_endpoint=required("authorization_endpoint"),
        token_endpoint=required("token_endpoint"),
        jwks_uri=required("jwks_uri"),
        userinfo_endpoint=optional("userinfo_endpoint"),
        end_session_endpoint=optional("end_session_endpoint"),
        # The default where nothing is said.
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,
        scopes=frozenset(map(str, scopes)) if isinstance(scopes, list) else None,
        names_itself=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _known_scopes(scopes: tuple[str, ...], metadata: Metadata) -> list[str]:
    """The scopes to ask for. Some providers refuse ``offline_access`` where they do not know it."""
    is_known = metadata.scopes is None or _OFFLINE_ACCESS in metadata.scopes
    return [scope for scope in scopes if scope != _OFFLINE_ACCESS or is_known]


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
