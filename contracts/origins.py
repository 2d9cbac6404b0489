"""Web origins: scheme, host and port of a page, as browsers send them."""

import re
from ipaddress import IPv4Address, IPv6Address

_ORIGIN = re.compile(r"(https?)://([^:\[\]]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?", re.ASCII)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_HOST_LENGTH_MAX = 253
_PORT_MAX = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WILDCARD = "*."


def normalise_origin(text: str) -> str | None:
    """The origin as a browser would write it: lower case, no default port. None if it is not one.

    A path, even ``/``, a query, a user, spaces and any scheme but http(s) are refused; so is a host
    that is not ASCII, because browsers send its ``xn--`` form.
    """
    pattern = normalise_pattern(text)
    return None if pattern is None or _WILDCARD in pattern else pattern


def normalise_pattern(text: str) -> str | None:
    """The same, but ``https://*.example.com`` is taken too: it stands for every subdomain, at any
    depth, of a domain of at least two labels, and not for the domain itself."""
    match = _ORIGIN.fullmatch(text.lower()) if text.isascii() else None
    if match is None:
        return None
    scheme, host_text, port_text = match.groups()
    host = _host(host_text)
    port = int(port_text) if port_text else _DEFAULT_PORTS[scheme]
    if host is None or port > _PORT_MAX:
        return None
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")


def _host(text: str) -> str | None:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    if text.startswith(_WILDCARD):
        domain = _domain(text.removeprefix(_WILDCARD))
        is_narrow = domain is not None and "." in domain and not _is_numeric(domain)
        return f"{_WILDCARD}{domain}" if is_narrow else None
    return _ipv4(text) if _is_numeric(text) else _domain(text)


def _is_numeric(host: str) -> bool:
    """Whether browsers read the host as an IPv4 address: its last label is a number."""
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _domain(text: str) -> str | None:
    is_valid = len(text) <= _HOST_LENGTH_MAX and all(map(_LABEL.fullmatch, text.split(".")))
    return text if is_valid else None


def _ipv4(text: str) -> str | None:
    try:
        return str(IPv4Address(text))
    except ValueError:
        return None


def _ipv6(text: str) -> str | None:
    try:
        return f"[{IPv6Address(text)}]"
    except ValueError:
        return None
