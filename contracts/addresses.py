"""The client's address: the peer's, unless the peer is a proxy that the operator trusts."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

Network = IPv4Network | IPv6Network

_MAPPED_IPV4 = bytes(10) + b"\xff\xff"
_IPV4_BYTES = 4
_LIST = b"x-forwarded-for"
_FORWARDED = b"forwarded"


def packed_address(text: str) -> bytes | None:
    """The 4 or 16 bytes of an address, 4 for an IPv4 one mapped into IPv6; None if it is none.

    By the C library: a tenth of what the module ``ipaddress`` costs, on every post.
    """
    try:
        if ":" not in text:
            return socket.inet_pton(socket.AF_INET, text)
        packed = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        # ValueError: a NUL or a character beyond ASCII.
        return None
    return packed[12:] if packed.startswith(_MAPPED_IPV4) else packed


def _text_of(packed: bytes) -> str:
    family = socket.AF_INET if len(packed) == _IPV4_BYTES else socket.AF_INET6
    return socket.inet_ntop(family, packed)


class AddressSet:
    """The addresses of some networks."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._ranges = [
            (network.num_addresses, int(network.network_address), network.max_prefixlen // 8)
            for network in networks
        ]

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def __contains__(self, packed: bytes) -> bool:
        """Whether the address, as ``packed_address`` gives it, is in one of the networks."""
        size, value = len(packed), int.from_bytes(packed, "big")
        return any(
            size == range_size and 0 <= value - first < count
            for count, first, range_size in self._ranges
        )


def is_address_in(text: str, networks: tuple[str, ...]) -> bool:
    """Whether the address is in one of the networks (CIDR); what is not an address is in none."""
    packed = packed_address(text)
    return packed is not None and packed in _address_set(networks)


@lru_cache(maxsize=1_024)
def _address_set(networks: tuple[str, ...]) -> AddressSet:
    return AddressSet([ip_network(network) for network in networks])


class ClientAddress:
    """Finds the client's address; a client can never choose its own.

    From a trusted peer the right-most hop that is not itself trusted counts, out of one header:
    the one that the operator named, else ``X-Forwarded-For``, else ``Forwarded`` (RFC 7239). Where
    both of these come, ``Forwarded`` is the client's own: most proxies set the other and let it
    through. Behind one that sets ``Forwarded`` alone the operator has to name it.
    """

    def __init__(self, trusted: Sequence[Network], header: str | None = None) -> None:
        self._trusted = AddressSet(trusted)
        self._header = header.lower().encode() if header else None
        self.wanted_headers = frozenset([self._header] if self._header else [_LIST, _FORWARDED])
        self._is_trusted_peer = lru_cache(maxsize=1024)(self._is_trusted_text)

    def of(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The client's address as text, or the peer's if nothing better can be believed.

        ``headers`` are those of ``wanted_headers``, by their names in lower case; the lines of a
        header that was sent in several are joined by commas, in order.
        """
        if not self._trusted or not self._is_trusted_peer(peer):
            return peer
        name = self._header or (_LIST if _LIST in headers else _FORWARDED)
        value = headers.get(name, b"").decode("latin-1")
        client = peer
        for hop in _forwarded_hops(value) if name == _FORWARDED else reversed(value.split(",")):
            address = _parse(hop)
            if address is None:
                break
            client = _text_of(address)
            if address not in self._trusted:
                break
        return client

    def of_scope(self, scope: Mapping[str, Any]) -> str:
        """The client's address of an ASGI request; empty if its peer is unknown."""
        joined: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in self.wanted_headers:
                joined[name] = joined[name] + b"," + value if name in joined else value
        peer = scope.get("client")
        return self.of(peer[0] if peer else "", joined)

    def _is_trusted_text(self, text: str) -> bool:
        address = packed_address(text)
        return address is not None and address in self._trusted


def _forwarded_hops(value: str) -> Iterator[str]:
    """The nodes of a ``Forwarded`` header, the last one first; empty where one cannot be read."""
    for element in _split_backwards(value, ","):
        pairs = [pair.strip().partition("=") for pair in _split_backwards(element, ";")]
        nodes = [node for name, _, node in pairs if name.lower() == "for"]
        yield nodes[0].strip('"') if len(nodes) == 1 else ""


def _split_backwards(text: str, separator: str) -> Iterator[str]:
    """The parts of a text, from its end, split where no quotes are open.

    What a proxy adds is at the end: read from there, a quote that the client left open before it
    swallows nothing, and a separator within the proxy's own quotes (a client's host) divides
    nothing.
    """
    is_quoted, end = False, len(text)
    for place in range(len(text) - 1, -1, -1):
        if text[place] == '"':
            is_quoted = not is_quoted
        elif text[place] == separator and not is_quoted:
            yield text[place + 1 : end]
            end = place
    yield text[:end]


def _parse(text: str) -> bytes | None:
    """The address in ``1.2.3.4``, ``1.2.3.4:80``, ``2001:db8::1``, ``[2001:db8::1]:80``."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return packed_address(text)
