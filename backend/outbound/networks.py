"""Networks that a customer may not make the server call.

By explicit networks rather than ``ipaddress.is_global``, which takes NAT64, 6to4, site-local and
IPv4-compatible addresses for public though each of them can lead to a private IPv4 address. The
sources are IANA's registries as of October 2025:

* https://www.iana.org/assignments/iana-ipv4-special-registry
* https://www.iana.org/assignments/iana-ipv6-special-registry
* https://www.iana.org/assignments/ipv6-address-space
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

from contracts.addresses import Network

Address = IPv4Address | IPv6Address

_FORBIDDEN_IPV4 = (
    "0.0.0.0/8",  # this network; 0.0.0.0 is the local host on Linux
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # shared by carriers (CGNAT); Alibaba's metadata
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # Azure's metadata and agents, though the address is a public one
    "169.254.0.0/16",  # link-local; most clouds' metadata
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # IETF protocol assignments; Oracle's metadata
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # 6to4 relays, deprecated
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
)

_FORBIDDEN_IPV6 = (
    # Inside 2000::/3, the only block of which global unicast addresses have been given out:
    "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, both ORCHIDs, …
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: an IPv4 address follows
    "3fff::/20",  # documentation
    # Outside of it, some by name:
    "::/96",  # unspecified, loopback, and IPv4-compatible addresses
    "::ffff:0:0/96",  # IPv4-mapped
    "64:ff9b::/96",  # NAT64: an IPv4 address follows
    "64:ff9b:1::/48",  # NAT64 within a site
    "100::/64",  # discarded
    "100:0:0:1::/64",  # dummy prefix
    "5f00::/16",  # segment routing
    "fc00::/7",  # unique local; the metadata of Amazon and Google
    "fe80::/10",  # link-local
    "fec0::/10",  # site-local, deprecated
    "ff00::/8",  # multicast
    # and all the rest:
    "::/3",
    "4000::/2",
    "8000::/1",
)

FORBIDDEN: tuple[Network, ...] = tuple(map(ip_network, _FORBIDDEN_IPV4 + _FORBIDDEN_IPV6))


def is_forbidden(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether the address is in a forbidden network and in none of those ``allowed``.

    An address stands for itself only: ``10.1.0.0/16`` does not allow ``::ffff:10.1.0.1``.
    """
    return any(address in network for network in FORBIDDEN) and not any(
        address in network for network in allowed
    )
