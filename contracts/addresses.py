"""The client's address: the peer's, unless the peer is a proxy that the operator trusts."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class ClientAddress:
    """Finds the client's address; a client can never choose its own.

    From a trusted peer the right-most hop that is not itself trusted counts, out of ``Forwarded``
    (RFC 7239) or ``X-Forwarded-For``, or the one header that the operator named.
    """

    def __init__(self, trusted: Sequence[Network], header: str | None = None) -> None:
        self._trusted = tuple(trusted)
        self._header = header.lower().encode() if header else None
        self.wanted_headers = frozenset(
            {b"forwarded", b"x-forwarded-for"} | ({self._header} if self._header else set())
        )
        self._is_trusted_peer = lru_cache(maxsize=1024)(self._is_trusted_text)

    def of(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address as text, or the peer's if nothing better can be believed."""
        if not self._trusted or not self._is_trusted_peer(peer):
            return peer
        if self._header is not None:
            named = _parse(headers.get(self._header, b"").decode("latin-1"))
            return str(named) if named else peer
        client = peer
        for hop in reversed(_hops(headers)):
            address = _parse(hop)
            if address is None:
                break
            client = str(address)
            if not self._is_trusted(address):
                break
        return client

    def _is_trusted_text(self, text: str) -> bool:
        address = _parse(text)
        return address is not None and self._is_trusted(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _hops(headers: Mapping[bytes, bytes]) -> list[str]:
    forwarded = headers.get(b"forwarded")
    if forwarded is None:
        return headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
    return [_forwarded_for(element) for element in forwarded.decode("latin-1").split(",")]


def _forwarded_for(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.strip().partition("=")
        if name.lower() == "for":
            return value.strip('"')
    return ""


def _parse(text: str) -> Address | None:
    """The address in ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1``, ``[2001:db8::1]:80``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
