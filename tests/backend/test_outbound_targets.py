"""Targets that may not be called: in any spelling, by URL and by address, and none is connected
to."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.outbound.client import OutboundClient, TargetForbidden
from backend.outbound.lookups import resolve_host
from backend.outbound.networks import FORBIDDEN, Address, is_forbidden
from backend.outbound.targets import checked_target
from tests.backend.outbound_builders import LOOPBACK, OK, answering, client, has_ipv6, sink

PROPERTY = settings(deadline=None, max_examples=200, database=None)

# Hosts that are this machine, or another place that nobody outside may reach, in some spelling.
FORBIDDEN_HOSTS = """
127.0.0.1 127.0.0.1. 127.0.0.53 127.1 127.0.1 127.1. 2130706433 2130706433. 017700000001
0177.0.0.1 0177.0.0.01 00177.0.0.1 0x7f000001 0X7F000001 0x7f.1 0x7f.0x0.0x0.0x1 0x7f.0.1 127.0x1
127.0.0.0x1 127.0.0.01 127.0.0.001 0 0.0.0.0 0x0 00 1 4294967295 4294967296 0x100000000
127.0.0.256 127.0.0.1.1 127..1 256.256.256.256 1.2.3.4.5 example.1 example.0x1 example.0x
10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 168.63.129.16 169.254.169.254 169.254.43518
2852039166 0xa9fea9fe 0251.0376.0251.0376 172.16.0.1 172.31.255.254 192.0.0.192 192.0.2.1
192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1
255.255.255.255
[::] [::1] [0:0:0:0:0:0:0:1] [0000::0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:0001]
[0:0:0:0:0:ffff:127.0.0.1] [::127.0.0.1] [::7f00:1] [::ffff:8.8.8.8] [64:ff9b::a9fe:a9fe]
[64:ff9b::169.254.169.254] [64:ff9b:1::1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001::1]
[2001:0:7f00:1::] [2001:2::1] [2001:10::1] [2001:20::1] [2001:db8::1] [3fff::1] [5f00::1] [100::1]
[100:0:0:1::1] [fc00::1] [fd00:ec2::254] [fd20:ce::254] [fe80::1] [fe80::1%25eth0] [fe80::1%eth0]
[::1%25lo] [fec0::1] [feff::1] [ff02::1] [ff0e::1] [::ffff:0:127.0.0.1] [4000::1] [::1].
::1 [::1 ::1] [] [127.0.0.1] [1] [v1.x] fe80::1
１２７.０.０.１ ①②⑦.⓪.⓪.① 127。0。0。1 127．0．0．1 ⑯⑨。②⑤④。⑯⑨｡②⑤④ ⓛocalhost ｌocalhost locaſhost
127%2e0.0.1 %31%32%37.0.0.1 local%68ost 127.0.0.1%00 127.0.0.1%00.example.com
localhost LOCALHOST localhost. Localhost.LocalDomain.localhost app.localhost printer.local
db.internal metadata.google.internal nas.home.arpa intranet ip6-localhost metadata kubernetes
a..b example..com .example.com example.com.. -a.example.com a-.example.com
""".split()

FORBIDDEN_URLS = [
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com:70/",
    "unix:///var/run/docker.sock",
    "//example.com/",
    "example.com/hook",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "https://",
    "https://?x",
    "",
    "javascript:alert(1)",
    "https://user@example.com/",
    "https://user:password@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://@example.com/",
    "https://example.com/#fragment",
    "https://example.com#@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com\\",
    " https://example.com/",
    "https://example.com/ ",
    "https://exam ple.com/",
    "https://example.com/a b",
    "https://example.com/\r\nHost: internal",
    "https://exam\tple.com/",
    "https://example.com/\x00",
    "https://example.com/\x7f",
    "https://müller.example/",
    "https://example.com/ä",
    "https://example.com:0/",
    "https://example.com:22/",
    "https://example.com:25/",
    "https://example.com:6667/",
    "https://example.com:10080/",
    "https://example.com:65536/",
    "https://example.com:99999/",
    "https://example.com:443443/",
    "https://example.com:-1/",
    "https://example.com:+443/",
    "https://example.com:4_43/",
    "https://example.com:80:80/",
    "https://example.com:https/",
    "https://example.com:４４３/",
    f"https://{'a' * 64}.example.com/",
    f"https://{'a.' * 127}com/",
    f"https://example.com/{'a' * 2_048}",
]

# What a name may lead to; each with the sink's port.
FORBIDDEN_ANSWERS = """
127.0.0.1 127.8.8.8 0.0.0.0 10.0.0.1 100.64.0.1 168.63.129.16 169.254.169.254 172.20.0.1 192.0.0.1
192.168.0.1 198.19.0.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1
::ffff:93.184.215.14 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 2002:7f00:1:: 2001::1
2001:db8::1 3fff::1 5f00::1 100::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%lo fec0::1 ff02::1
""".split()

PUBLIC_URLS = {
    "https://example.com": ("example.com", "/"),
    "HTTPS://EXAMPLE.com./": ("example.com", "/"),
    "https://example.com:8443/a%20b;c?d=e&f=[g]": ("example.com:8443", "/a%20b;c?d=e&f=[g]"),
    "https://example.com?x=@": ("example.com", "/?x=@"),
    "https://example.com:443/": ("example.com", "/"),
    "https://example.com:/": ("example.com", "/"),
    "https://_x.a-b.xn--mller-kva.example/": ("_x.a-b.xn--mller-kva.example", "/"),
    "https://123.example/": ("123.example", "/"),
    "https://8.8.8.8/": ("8.8.8.8", "/"),
    "https://[2606:4700:0::1111]:8443/": ("[2606:4700::1111]:8443", "/"),
    "https://localhost.example.com/": ("localhost.example.com", "/"),
    "https://internal.example.com/": ("internal.example.com", "/"),
}


async def refuse(calling: OutboundClient, url: str) -> str:
    """The reason for which the URL is not called."""
    with pytest.raises(TargetForbidden) as refused:
        await calling.post(url, b"{}", {}, 5.0)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(set(FORBIDDEN_HOSTS)) == len(FORBIDDEN_HOSTS) >= 80


@pytest.mark.asyncio
async def test_no_spelling_of_a_forbidden_host_is_called() -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with sink(answering(OK)) as target:
        calling = client(resolve)
        for host in FORBIDDEN_HOSTS:
            await refuse(calling, target.url(host))
            await refuse(calling, f"https://{host}:{target.port}/")
    assert (target.hits, asked) == (0, [])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1.", "localhost", "a.localhost", "a.example"]
)
async def test_the_sink_is_reached_when_its_network_is_allowed(host: str) -> None:
    async with sink(answering(OK)) as target:
        await refuse(client(["127.0.0.1"]), target.url(host))
        assert target.hits == 0
        answer = await client(["127.0.0.1"], cidrs=LOOPBACK).post(target.url(host), b"{}", {})
    assert (answer.status, answer.content, target.hits) == (200, b"ok", 1)


@pytest.mark.asyncio
@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"])
async def test_a_spelling_that_the_system_reads_as_this_machine_is_refused_all_the_same(
    host: str,
) -> None:
    """Even to who may call this machine: an address is written in full."""
    assert resolve_host(host) == ["127.0.0.1"]
    async with sink(answering(OK)) as target:
        await refuse(client(resolve_host, cidrs=LOOPBACK), target.url(host))
    assert target.hits == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("url", FORBIDDEN_URLS)
async def test_no_forbidden_url_is_looked_up(url: str) -> None:
    asked: list[str] = []

    def resolve(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    await refuse(client(resolve, cidrs=LOOPBACK), url)
    assert asked == []


@pytest.mark.asyncio
async def test_http_is_refused_unless_it_is_allowed() -> None:
    async with sink(answering(OK)) as target:
        calling = client(["127.0.0.1"], cidrs=LOOPBACK, allow_http=False)
        assert "https://" in await refuse(calling, target.url("a.example"))
    assert target.hits == 0


@pytest.mark.parametrize("url", PUBLIC_URLS)
def test_what_is_public_by_its_url_is_taken(url: str) -> None:
    target = checked_target(url, allow_http=False, allowed_networks=())
    assert (target.authority, target.resource) == PUBLIC_URLS[url]
    assert target.is_tls


def test_a_url_may_have_its_greatest_length() -> None:
    url = "https://example.com/" + "a" * (2_048 - 20)
    assert checked_target(url, allow_http=False, allowed_networks=()).resource == url[19:]


@pytest.mark.asyncio
@pytest.mark.parametrize("address", FORBIDDEN_ANSWERS)
@pytest.mark.parametrize(
    "others", [([], []), (["93.184.215.14"], []), ([], ["2606:4700::1111", "127.0.0.1"])]
)
async def test_one_forbidden_address_refuses_all(
    address: str, others: tuple[list[str], list[str]]
) -> None:
    before, after = others
    async with sink(answering(OK)) as target:
        reason = await refuse(client([*before, address, *after]), target.url("a.example"))
    assert target.hits == 0
    assert address not in reason
    assert "FORMFLOW_WEBHOOK_ALLOW_CIDRS" in reason


@pytest.mark.asyncio
async def test_allowing_one_address_allows_no_other() -> None:
    async with sink(answering(OK)) as target:
        mixed = client(["127.0.0.1", "127.0.0.2"], cidrs="127.0.0.1/32")
        await refuse(mixed, target.url("a.example"))
        await refuse(client(["::ffff:127.0.0.1"], cidrs=LOOPBACK), target.url("a.example"))
    assert target.hits == 0


@pytest.mark.asyncio
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_over_ipv6_it_is_the_same() -> None:
    async with sink(answering(OK), host="::1") as target:
        for host in ("[::1]", "[0:0::0:1]", "a.example"):
            await refuse(client(["::1"]), target.url(host))
        assert target.hits == 0
        calling = client(["::1"], cidrs=LOOPBACK)
        for host in ("[::1]", "[0:0::0:1]", "a.example"):
            assert (await calling.post(target.url(host), b"", {})).status == 200
    assert target.hits == 3
    assert b"\r\nHost: [::1]:%d\r\n" % target.port in target.heads[1]


@pytest.mark.asyncio
async def test_a_name_that_is_rebound_is_judged_again_each_time() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1"]]
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    calling = client(rebinding, cidrs="127.0.0.1/32")
    async with sink(answering(OK), host="0.0.0.0") as target:
        url = target.url("a.example")
        assert (await calling.post(url, b"", {})).status == 200
        assert asked == ["a.example"]
        await refuse(calling, url)
        assert target.hits == 1
        assert (await calling.post(url, b"", {})).status == 200
    assert asked == ["a.example"] * 3


def spellings(address: IPv4Address) -> list[str]:
    """Ways to write an IPv4 address, as some program or other reads it."""
    number, bytes_ = int(address), address.packed
    octal, hexadecimal = [f"0{byte:o}" for byte in bytes_], [f"{byte:#x}" for byte in bytes_]
    dotted = str(address)
    low, tail = number & 0xFFFF, number & 0xFFFFFF
    wide = dotted.translate({ord(digit): ord(digit) + 0xFEE0 for digit in "0123456789."})
    embedded = [
        IPv6Address(number),
        IPv6Address((0xFFFF << 32) | number),
        IPv6Address((0x64FF9B << 96) | number),
        IPv6Address((0x2002 << 112) | (number << 80)),
    ]
    return [
        dotted,
        f"{dotted}.",
        str(number),
        f"{number:#x}",
        f"0{number:o}",
        ".".join(octal),
        ".".join(hexadecimal).upper(),
        f"{bytes_[0]}.{tail}",
        f"{bytes_[0]}.{hexadecimal[1]}.{low}",
        wide,
        dotted.replace(".", "。"),
        dotted.replace(".", "%2e"),
        *(f"[{address}]" for address in embedded),
        *(f"[{address.exploded}]" for address in embedded),
        *(f"[{address}%25eth0]" for address in embedded),
        f"[::ffff:{dotted}]",
        f"[64:ff9b::{dotted}]",
    ]


def addresses_in_forbidden_networks() -> st.SearchStrategy[Address]:
    return st.sampled_from(FORBIDDEN).flatmap(
        lambda network: st.integers(0, network.num_addresses - 1).map(lambda n: network[n])
    )


@PROPERTY
@given(addresses_in_forbidden_networks(), st.data())
def test_any_address_of_a_forbidden_network_in_any_spelling_is_refused(
    address: Address, data: st.DataObject
) -> None:
    if isinstance(address, IPv4Address):
        host = data.draw(st.sampled_from(spellings(address)))
    else:
        forms = [str(address), address.exploded, str(address).upper(), f"{address}%25eth0"]
        host = f"[{data.draw(st.sampled_from(forms))}]"
    with pytest.raises(TargetForbidden):
        checked_target(f"https://{host}/", allow_http=False, allowed_networks=())


@PROPERTY
@given(st.ip_addresses())
def test_what_python_does_not_take_for_global_is_forbidden(address: Address) -> None:
    if not address.is_global or address.is_multicast:
        assert is_forbidden(address, ())


@PROPERTY
@given(st.ip_addresses(v=4).filter(lambda address: not is_forbidden(address, ())))
def test_an_address_that_hides_in_ipv6_is_forbidden_though_it_is_public(
    address: IPv4Address,
) -> None:
    for host in spellings(address):
        if host.startswith("["):
            with pytest.raises(TargetForbidden):
                checked_target(f"https://{host}/", allow_http=False, allowed_networks=())


@PROPERTY
@given(st.ip_addresses(v=4))
def test_an_allowed_network_allows_its_addresses(address: IPv4Address) -> None:
    assert not is_forbidden(address, [IPv4Network("0.0.0.0/0")])
    assert not is_forbidden(ip_address("8.8.8.8"), [IPv4Network("10.0.0.0/8")])


def test_the_system_s_resolver_gives_each_address_once() -> None:
    assert resolve_host("127.0.0.1") == ["127.0.0.1"]
    assert resolve_host("::1") == ["::1"]
