"""Where a request came from."""

import hmac
from dataclasses import dataclass

from starlette.requests import Request

from contracts.addresses import ClientAddress, packed_address
from contracts.internal import FORWARDED_BY, forwarding_proof
from contracts.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from, for the audit log and for limits per client."""

    address: str | None = None
    user_agent: str | None = None


class Callers:
    """Finds out where requests come from.

    A gateway that passes a request on proves itself by the internal token; then its word on the
    visitor's address counts. Otherwise the address is the peer's, or what a trusted proxy says.
    """

    def __init__(self, settings: Settings) -> None:
        self._addresses = ClientAddress(settings.trusted_proxies, settings.client_ip_header)
        token = settings.internal_token
        self._proof = forwarding_proof(token.get_secret_value()) if token else None

    def of(self, request: Request) -> Caller:
        """Where the request came from."""
        return Caller(self._address(request), request.headers.get("user-agent"))

    def host_of(self, request: Request) -> str:
        """The host, and the port if it is named, that the client thinks it speaks to."""
        headers: dict[bytes, bytes] = dict(request.scope["headers"])
        name = b"x-forwarded-host" if self._is_from_gateway(headers) else b"host"
        return headers.get(name, b"").decode("latin-1")

    def _address(self, request: Request) -> str | None:
        headers: dict[bytes, bytes] = dict(request.scope["headers"])
        if self._is_from_gateway(headers):
            text = headers.get(b"x-forwarded-for", b"").decode("latin-1")
            return text if packed_address(text) is not None else None
        return self._addresses.of_scope(request.scope) or None

    def _is_from_gateway(self, headers: dict[bytes, bytes]) -> bool:
        sent = headers.get(FORWARDED_BY)
        return (
            sent is not None and self._proof is not None and hmac.compare_digest(sent, self._proof)
        )
