"""The client's address: a client can never choose its own."""

from ipaddress import ip_network

import pytest

from contracts.addresses import ClientAddress

PROXY = "10.0.0.1"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:f::/48"))


@pytest.mark.parametrize(
    ("forwarded_for", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("203.0.113.9, 2001:db8:f::1", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, unknown", PROXY),
        ("1.1.1.1, unknown, 10.9.9.9", "10.9.9.9"),
        ("", PROXY),
        (" , ", PROXY),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
    ],
)
def test_the_right_most_untrusted_hop_counts(forwarded_for: str, client: str) -> None:
    headers = {b"x-forwarded-for": forwarded_for.encode()}
    assert ClientAddress(TRUSTED).of(PROXY, headers) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("for=1.1.1.1, for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ('For="[2001:db8::7]:4711"', "2001:db8::7"),
        ("for=_hidden", PROXY),
        ("proto=https", PROXY),
    ],
)
def test_the_standard_header_goes_first(forwarded: str, client: str) -> None:
    headers = {b"forwarded": forwarded.encode(), b"x-forwarded-for": b"9.9.9.9"}
    assert ClientAddress(TRUSTED).of(PROXY, headers) == client


def test_a_stranger_is_not_believed() -> None:
    headers = {b"x-forwarded-for": b"9.9.9.9", b"forwarded": b"for=9.9.9.9"}
    assert ClientAddress(TRUSTED).of("203.0.113.5", headers) == "203.0.113.5"
    assert ClientAddress(()).of(PROXY, headers) == PROXY


def test_the_named_header_counts_from_a_trusted_peer_only() -> None:
    address = ClientAddress(TRUSTED, "CF-Connecting-IP")
    headers = {b"cf-connecting-ip": b"203.0.113.9", b"x-forwarded-for": b"9.9.9.9"}
    assert address.of(PROXY, headers) == "203.0.113.9"
    assert address.of("203.0.113.5", headers) == "203.0.113.5"
    assert address.of(PROXY, {b"cf-connecting-ip": b"nonsense"}) == PROXY
