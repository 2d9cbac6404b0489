"""What becomes of odd framing, over a real socket: the classes of row D12."""

import re
from collections.abc import Iterator

import pytest

from contracts.runtime.framing import Refused, body_length
from tests.runtime.server import Running, read_to_end, running, send

GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"
END = b"\r\n"
BEHIND = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"

REFUSED = {
    "no Host": GET + END,
    "two Hosts": GET + HOST + b"Host: b\r\n\r\n",
    "two equal Hosts": GET + HOST + HOST + END,
    "Hosts in other case": GET + HOST + b"hOST: a\r\n\r\n",
    "a list of Hosts": GET + b"Host: a, b\r\n\r\n",
    "a Host with a path": GET + b"Host: a/b\r\n\r\n",
    "a Host with a user": GET + b"Host: a@b\r\n\r\n",
    "Content-Length and chunked": POST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0",
    "chunked and Content-Length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\na",
    "a length with a plus": POST + b"Content-Length: +1\r\n\r\na",
    "a length below 0": POST + b"Content-Length: -1\r\n\r\na",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\na",
    "a length with an underscore": POST + b"Content-Length: 1_0\r\n\r\na",
    "an empty length": POST + b"Content-Length:\r\n\r\n",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\na",
    "identity, chunked": POST + b"Transfer-Encoding: identity, chunked\r\n\r\n" + LAST,
    "gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + LAST,
    "chunked, identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n" + LAST,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" * 2 + END + LAST,
    "chunked, then another": CHUNKED[:-2] + b"Transfer-Encoding: x\r\n\r\n" + LAST,
    "identity": POST + b"Transfer-Encoding: identity\r\n\r\n",
    "xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + LAST,
    "Chunked": POST + b"Transfer-Encoding: Chunked\r\n\r\n" + LAST,
    "quoted chunked": POST + b'Transfer-Encoding: "chunked"\r\n\r\n' + LAST,
    "chunked with a parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + LAST,
    "chunked behind a VT": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + LAST,
    "chunked before a tab": POST + b"Transfer-Encoding: chunked\t\r\n\r\n" + LAST,
    "chunked on a folded line": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + LAST,
    "empty Transfer-Encoding": POST + b"Transfer-Encoding:\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + LAST,
    "chunk size 0x1": CHUNKED + b"0x1\r\na\r\n" + LAST,
    "chunk size 1_0": CHUNKED + b"1_0\r\na\r\n" + LAST,
    "chunk size +1": CHUNKED + b"+1\r\na\r\n" + LAST,
    "chunk size -1": CHUNKED + b"-1\r\na\r\n" + LAST,
    "a space before the size": CHUNKED + b" 1\r\na\r\n" + LAST,
    "a space behind the size": CHUNKED + b"1 \r\na\r\n" + LAST,
    "an empty size": CHUNKED + b"\r\na\r\n" + LAST,
    "a size beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\na\r\n" + LAST,
    "LF behind the size": CHUNKED + b"1\na\r\n" + LAST,
    "LF behind a chunk": CHUNKED + b"1\r\na\n" + LAST,
    "a chunk longer than its size": CHUNKED + b"1\r\nab\r\n" + LAST,
    "LF in a quoted extension": CHUNKED + b'1;x="\n"\r\na\r\n' + LAST,
    "Content-Length as a trailer": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "LF behind the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "LF behind a header": GET + b"Host: a\n\r\n",
    "LF as the empty line": GET + HOST + b"\n",
    "CR in a value": GET + HOST + b"X: a\rb\r\n\r\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "a control character": GET + HOST + b"X: a\x01b\r\n\r\n",
    "DEL in a value": GET + HOST + b"X: a\x7fb\r\n\r\n",
    "a space before the colon": GET + b"Host : a\r\n\r\n",
    "a space before the first name": GET + b" Host: a\r\n\r\n",
    "a folded line": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "a line without a colon": GET + HOST + b"X\r\n\r\n",
    "an empty name": GET + HOST + b": a\r\n\r\n",
    "a name that is no token": GET + HOST + b"X(: a\r\n\r\n",
    "absolute form": b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority form": b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "* for GET": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes beyond ASCII in the target": b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

# The answer's body tells the path and how much body the app got.
SERVED = {
    "no Host in HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", b"/ 0"),
    "an empty Host": (GET + b"Host:\r\n\r\n", b"/ 0"),
    "a Host with a port": (GET + b"Host: [::1]:8787\r\n\r\n", b"/ 0"),
    "* for OPTIONS": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"* 0"),
    "two slashes": (b"GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", b"//a/b 0"),
    "Content-Length: 0": (POST + b"Content-Length: 0\r\n\r\n", b"/ 0"),
    "a length": (POST + b"Content-Length: 3\r\n\r\nabc", b"/ 3"),
    "a length behind zeros": (POST + b"Content-Length: 003\r\n\r\nabc", b"/ 3"),
    "chunks": (CHUNKED + b"1\r\na\r\n2\r\nbc\r\n" + LAST, b"/ 3"),
    "a chunk extension": (CHUNKED + b"1;x=y\r\na\r\n" + LAST, b"/ 1"),
    "a repeated list field": (GET + HOST + b"X: a\r\nX: b\r\n\r\n", b"/ 0"),
    "bytes beyond ASCII in a value": (GET + HOST + b"X: \xff\r\n\r\n", b"/ 0"),
    "an empty line before": (b"\r\n" + GET + HOST + END, b"/ 0"),
    "an offer to upgrade": (
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
        b"/ 3",
    ),
    "an offer to upgrade, in chunks": (
        CHUNKED[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n1\r\na\r\n" + LAST,
        b"/ 1",
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running() as started:
        yield started


def test_the_table_has_all_classes() -> None:
    assert len(REFUSED) + len(SERVED) >= 39


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_refused(server: Running, raw: bytes, cut: bool) -> None:
    with server.connect() as client:
        send(client, raw + BEHIND, 1 if cut else None)
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\naccess-control-allow-origin: *\r\n" in answer
    assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1
    assert "/behind" not in server.app.seen


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("raw", "told"), SERVED.values(), ids=SERVED.keys())
def test_served(server: Running, raw: bytes, told: bytes, cut: bool) -> None:
    with server.connect() as client:
        send(client, raw, 1 if cut else None)
        if b"HTTP/1.0" not in raw:
            client.sendall(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" + told in answer
    assert b"HTTP/1.0" in raw or answer.endswith(b"\r\n\r\n/last 0")


def test_a_trailer_does_not_become_a_header(server: Running) -> None:
    with server.connect() as client:
        client.sendall(CHUNKED + b"1\r\na\r\n0\r\nAuthorization: Bearer x\r\n\r\n")
        client.sendall(GET.replace(b"/ ", b"/next ") + HOST + b"Connection: close\r\n\r\n")
        assert read_to_end(client).endswith(b"/next 0")
    assert [name for name, _ in server.app.headers] == [b"host", b"connection"]


def test_an_ignored_upgrade_hides_no_request(server: Running) -> None:
    """Stock took the body of such a request for the next request."""
    offer = b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(
        BEHIND
    )
    with server.connect() as client:
        client.sendall(POST + offer + BEHIND)
        assert read_to_end(client).endswith(b"\r\n\r\n/ %d" % len(BEHIND))
    assert "/behind" not in server.app.seen


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([(b"host", b"a")], 0),
        ([(b"host", b"a"), (b"content-length", b"12")], 12),
        ([(b"host", b"a"), (b"transfer-encoding", b"chunked")], None),
    ],
)
def test_body_length(headers: list[tuple[bytes, bytes]], length: int | None) -> None:
    assert body_length("1.1", headers, 100) == length


@pytest.mark.parametrize("name", [b"content-length", b"transfer-encoding", b"host"])
def test_body_length_refuses_a_repeated_field_itself(name: bytes) -> None:
    with pytest.raises(Refused, match="more than one"):
        body_length("1.1", [(b"host", b"a"), (name, b"1"), (name, b"1")], 100)
