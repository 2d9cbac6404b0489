"""What a customer may name as the target of a call."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from backend.outbound.errors import TargetForbidden
from backend.outbound.networks import Address, is_forbidden
from contracts.addresses import Network

URL_MAX = 2_048
_HOST_MAX = 253
_PORT_MAX = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_URL = re.compile(r"(https?)://([^/?]*)([/?].*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([0-9]{0,5}))?", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# RFC 6761, RFC 6762, RFC 8375 and ICANN's resolution 2024.07.29.06: never public.
_LOCAL_DOMAINS = (".localhost", ".local", ".internal", ".home.arpa")

# The ports of protocols that a request could be smuggled into:
# https://fetch.spec.whatwg.org/#port-blocking
# fmt: off
_BAD_PORTS = frozenset({
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
})
# fmt: on

_NOT_PUBLIC = (
    "the URL leads to an address that is not public; who runs this server can allow its network in "
    "FORMFLOW_WEBHOOK_ALLOW_CIDRS"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called.

    ``host`` is in lower case, without brackets and without a dot at its end; ``address`` is set if
    it is one. ``resource`` is the path with the query, as it is sent.
    """

    is_tls: bool
    host: str
    port: int
    resource: str
    address: Address | None

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header names them (RFC 9110, 7.2)."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        is_default = self.port == _DEFAULT_PORTS["https" if self.is_tls else "http"]
        return host if is_default else f"{host}:{self.port}"


def checked_target(url: str, *, allow_http: bool, allowed_networks: Sequence[Network]) -> Target:
    """The target that ``url`` names, judged by the URL alone: no name is looked up.

    A host that is an address must be written as one, in full: numbers that only some programs read
    as an address (``127.1``, ``0x7f.1``, ``2130706433``) are refused whatever they stand for, and
    so are hosts that are not ASCII, full-width and circled digits among them. Names that cannot be
    public (of one label, ``localhost``, ``*.local``, …) are left to ``allowed_networks``: without
    any, they are refused.

    Raises:
        TargetForbidden: saying which part may not be as it is.
    """
    if len(url) > URL_MAX:
        raise TargetForbidden(f"the URL must not be longer than {URL_MAX:,} characters")
    if not _PRINTABLE.fullmatch(url):
        raise TargetForbidden(
            "the URL must be ASCII without spaces: write a name with other letters in its xn-- "
            "form, and escape them in a path"
        )
    if "#" in url or "\\" in url:
        raise TargetForbidden("the URL must have no fragment (#) and no backslash")
    match = _URL.fullmatch(url)
    scheme = match[1].lower() if match else ""
    if match is None or (scheme == "http" and not allow_http):
        allowed = "https:// or http://" if allow_http else "https://"
        raise TargetForbidden(f"the URL must begin with {allowed}")
    host, port = _checked_authority(match[2], _DEFAULT_PORTS[scheme])
    checked = _checked_host(host, allowed_networks)
    resource = match[3] or "/"
    return Target(
        is_tls=scheme == "https",
        host=str(checked),
        port=port,
        resource=resource if resource.startswith("/") else f"/{resource}",
        address=None if isinstance(checked, str) else checked,
    )


def checked_address(address: Address, allowed_networks: Sequence[Network]) -> Address:
    """The address, if it may be called. Raises TargetForbidden.

    The message keeps it to itself: it may be one that only the server's own resolver knows.
    """
    if is_forbidden(address, allowed_networks):
        raise TargetForbidden(_NOT_PUBLIC)
    return address


def _checked_authority(authority: str, default_port: int) -> tuple[str, int]:
    if "@" in authority:
        raise TargetForbidden("the URL must have no user and no password")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise TargetForbidden("the URL's host is not valid")
    port = int(match[2]) if match[2] else default_port
    if port > _PORT_MAX or port in _BAD_PORTS:
        raise TargetForbidden(f"the URL's port must not be {port}")
    return match[1].lower(), port


def _checked_host(text: str, allowed_networks: Sequence[Network]) -> str | Address:
    host = text.removesuffix(".")
    labels = host.split(".")
    if host.startswith("[") or _NUMBER.fullmatch(labels[-1]):
        return checked_address(_address(host), allowed_networks)
    if len(host) > _HOST_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise TargetForbidden("the URL's host is not a valid name")
    is_local = len(labels) == 1 or host.endswith(_LOCAL_DOMAINS)
    if is_local and not allowed_networks:
        raise TargetForbidden("the URL's host must be a public name, not one of a local network")
    return host


def _address(host: str) -> Address:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise TargetForbidden(
            "the URL's host is not a valid address: write four decimal numbers, or an IPv6 "
            "address in brackets"
        ) from None
