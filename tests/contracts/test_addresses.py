"""The client's address: a client can never choose its own."""

from ipaddress import ip_network

import pytest

from contracts.addresses import ClientAddress

PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:f::/48"))
LIST, FORWARDED, CLOUDFLARE = "x-forwarded-for", "forwarded", "cf-connecting-ip"

Headers = list[tuple[str, str]]


def client_of(headers: Headers, named: str | None = None, peer: str = PROXY) -> str:
    """Whose request it is, by the lines of its headers."""
    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return ClientAddress(TRUSTED, named).of_scope({"client": (peer, 4711), "headers": lines})


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (CLIENT, CLIENT),
        (f"  {CLIENT}\t", CLIENT),
        (f"{CLIENT}:4711", CLIENT),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0:0::0007", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("fe80::7%eth0", "fe80::7"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:4711", CLIENT),
        # What stands to the left of the client's own hop is the client's word.
        (f"1.1.1.1, {CLIENT}", CLIENT),
        (f"1.1.1.1,{CLIENT}", CLIENT),
        (f"10.9.9.9, {CLIENT}", CLIENT),
        (f"unknown, _x, , {CLIENT}", CLIENT),
        (f'"1.1.1.1, {CLIENT}', CLIENT),
        (f"for=1.1.1.1, {CLIENT}", CLIENT),
        # Further proxies of ours.
        (f"1.1.1.1, {CLIENT}, 10.2.3.4", CLIENT),
        (f"{CLIENT}, 2001:db8:f::1", CLIENT),
        (f"{CLIENT}, ::ffff:10.2.3.4, [2001:db8:f::1]:80", CLIENT),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3"),
        # What our side did not know is not guessed from what stands before it.
        ("1.1.1.1, unknown", PROXY),
        ("1.1.1.1, _hidden", PROXY),
        ("1.1.1.1, unix:", PROXY),
        ("1.1.1.1,", PROXY),
        ("1.1.1.1, unknown, 10.9.9.9", "10.9.9.9"),
        ("", PROXY),
        (" , ", PROXY),
        # Spellings that are no addresses.
        ("0x7f.1", PROXY),
        ("127.1", PROXY),
        ("1.1.1.1.1", PROXY),
        ("1.1.1.256", PROXY),
        ("2001:db8::7::1", PROXY),
        ("\xb2.1.1.1", PROXY),
        ("1.1.1.1\x00", PROXY),
        (f'"{CLIENT}"', PROXY),
        (f"for={CLIENT}", PROXY),
        (f"{CLIENT};{CLIENT}", PROXY),
    ],
)
def test_the_right_most_untrusted_hop_counts(value: str, client: str) -> None:
    assert client_of([(LIST, value)]) == client


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        # A proxy may add a line instead of an element; a client's lines come before it.
        ([(LIST, "1.1.1.1"), (LIST, CLIENT)], CLIENT),
        ([(LIST, CLIENT), (LIST, "10.2.3.4")], CLIENT),
        ([(LIST, "1.1.1.1, 2.2.2.2"), (LIST, f"{CLIENT}, 10.2.3.4"), (LIST, "10.5.5.5")], CLIENT),
        ([(LIST, "1.1.1.1"), (LIST, "")], PROXY),
        # Proxies that set the one let a client's own other through.
        ([(FORWARDED, "for=1.1.1.1"), (LIST, CLIENT)], CLIENT),
        ([(LIST, CLIENT), (FORWARDED, "for=1.1.1.1")], CLIENT),
        ([(LIST, "unknown"), (FORWARDED, "for=1.1.1.1")], PROXY),
        ([(LIST, ""), (FORWARDED, "for=1.1.1.1")], PROXY),
        # Nobody named these.
        ([(CLOUDFLARE, "1.1.1.1")], PROXY),
        ([(CLOUDFLARE, "1.1.1.1"), (LIST, CLIENT)], CLIENT),
        ([("x-real-ip", "1.1.1.1"), ("true-client-ip", "1.1.1.1")], PROXY),
        ([], PROXY),
    ],
)
def test_one_header_is_believed(headers: Headers, client: str) -> None:
    assert client_of(headers) == client


@pytest.mark.parametrize("named", [None, "Forwarded"])
@pytest.mark.parametrize(
    ("value", "client"),
    [
        (f"for={CLIENT}", CLIENT),
        (f'for="{CLIENT}:4711"', CLIENT),
        ('For="[2001:db8::7]:4711"', "2001:db8::7"),
        (f"for=1.1.1.1, for={CLIENT};proto=https;by=10.0.0.1", CLIENT),
        (f"proto=https; FOR={CLIENT} ;by=10.0.0.1", CLIENT),
        (f"for={CLIENT}, for=10.2.3.4", CLIENT),
        # Quotes that the client leaves open reach nothing that the proxy has written.
        (f'for="1.1.1.1, for={CLIENT}', CLIENT),
        (f'host=", for={CLIENT};by="[2001:db8:f::1]"', CLIENT),
        # The client chose the host.
        (f'for={CLIENT};host="x,for=1.1.1.1"', CLIENT),
        (f'for={CLIENT};host="x;for=1.1.1.1"', CLIENT),
        (f'host="x;for=1.1.1.1";for={CLIENT}', CLIENT),
        ("for=1.1.1.1, for=unknown", PROXY),
        ("for=1.1.1.1, for=_hidden", PROXY),
        ("for=1.1.1.1, proto=https", PROXY),
        ("for=1.1.1.1;for=2.2.2.2", PROXY),
        ("for=1.1.1.1,", PROXY),
        ("1.1.1.1", PROXY),
        ("", PROXY),
    ],
)
def test_the_standard_header_is_read_from_its_end(
    named: str | None, value: str, client: str
) -> None:
    assert client_of([(FORWARDED, value)], named) == client


def test_lines_of_the_standard_header_are_one_list() -> None:
    lines = [(FORWARDED, "for=1.1.1.1"), (FORWARDED, f"for={CLIENT}"), (FORWARDED, "for=10.2.3.4")]
    assert client_of(lines) == CLIENT


@pytest.mark.parametrize(
    ("named", "headers", "client"),
    [
        ("CF-Connecting-IP", [(CLOUDFLARE, CLIENT), (LIST, "1.1.1.1")], CLIENT),
        (
            "CF-Connecting-IP",
            [(CLOUDFLARE, "2001:db8::7"), (FORWARDED, "for=1.1.1.1")],
            "2001:db8::7",
        ),
        ("CF-Connecting-IP", [(CLOUDFLARE, "1.1.1.1"), (CLOUDFLARE, CLIENT)], CLIENT),
        ("CF-Connecting-IP", [(CLOUDFLARE, "nonsense"), (LIST, "1.1.1.1")], PROXY),
        ("CF-Connecting-IP", [(LIST, "1.1.1.1"), (FORWARDED, "for=1.1.1.1")], PROXY),
        ("X-Forwarded-For", [(FORWARDED, "for=1.1.1.1")], PROXY),
        ("X-Forwarded-For", [(LIST, f"1.1.1.1, {CLIENT}, 10.2.3.4")], CLIENT),
        ("Forwarded", [(FORWARDED, f"for={CLIENT}"), (LIST, "1.1.1.1")], CLIENT),
        ("Forwarded", [(LIST, "1.1.1.1")], PROXY),
    ],
)
def test_a_named_header_counts_alone(named: str, headers: Headers, client: str) -> None:
    assert client_of(headers, named) == client


@pytest.mark.parametrize("named", [None, "CF-Connecting-IP", "Forwarded"])
@pytest.mark.parametrize("stranger", ["203.0.113.5", "2001:db8::5", "11.0.0.1"])
def test_a_stranger_is_not_believed(named: str | None, stranger: str) -> None:
    claims = [(LIST, "9.9.9.9"), (FORWARDED, "for=9.9.9.9"), (CLOUDFLARE, "9.9.9.9")]
    assert client_of(claims, named, peer=stranger) == stranger


def test_nobody_is_trusted_by_default() -> None:
    scope = {"client": (PROXY, 4711), "headers": [(b"x-forwarded-for", b"9.9.9.9")]}
    assert ClientAddress(()).of_scope(scope) == PROXY


def test_a_request_without_a_peer_has_no_address() -> None:
    scope = {"client": None, "headers": [(b"x-forwarded-for", b"9.9.9.9")]}
    assert ClientAddress(TRUSTED).of_scope(scope) == ""
