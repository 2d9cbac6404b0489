"""The server's protocol against slow, greedy and many clients, over real sockets."""

import contextlib
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from contracts.runtime.connections import ConnectionLimits, address_key
from tests.runtime.server import (
    BIG,
    WAIT_SECONDS,
    Running,
    read_to_end,
    running,
    send,
    until,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEVER = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with the limits it ships with."""
    with running() as started:
        yield started


def get(path: str, extra: bytes = b"") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (path.encode(), extra)


def post(path: bytes, length: int, extra: bytes = b"") -> bytes:
    """The head of a POST."""
    return HEAD % (path, length, extra)


def read_until(client: socket.socket, ending: bytes) -> bytes:
    """What the server sends, up to this ending."""
    answer = b""
    while not answer.endswith(ending):
        data = client.recv(65_536)
        assert data, answer
        answer += data
    return answer


def read_what_came(client: socket.socket) -> bytes:
    """What the server sends until it closes or resets the connection."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65_536):
            answer += data
    return answer


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def is_open(client: socket.socket, seconds: float) -> bool:
    """Whether the server says nothing for so long."""
    return not select.select([client], [], [], seconds)[0]


class Endless(threading.Thread):
    """A client that sends one piece again and again until it is cut; what it was answered."""

    def __init__(self, server: Running, first: bytes, piece: bytes, pause: float = 0.02) -> None:
        super().__init__()
        self.answer = b""
        self.sent = 0
        self._client = server.connect()
        self._first, self._piece, self._pause = first, piece, pause
        self.start()

    def run(self) -> None:
        with self._client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._client.sendall(self._first)
            while is_open(self._client, self._pause):
                self._client.sendall(self._piece)
                self.sent += len(self._piece)
            self.answer = read_to_end(self._client)

    def result(self) -> list[int]:
        """The statuses it was answered; fails if it is not cut."""
        self.join(WAIT_SECONDS)
        assert not self.is_alive()
        return statuses(self.answer)


class Reader(threading.Thread):
    """Reads a socket to its end beside the test."""

    def __init__(self, client: socket.socket) -> None:
        super().__init__()
        self._client, self._answer = client, b""
        self.start()

    def run(self) -> None:
        self._answer = read_what_came(self._client)

    def result(self) -> bytes:
        self.join(WAIT_SECONDS)
        assert not self.is_alive()
        return self._answer


def test_a_connection_is_kept_for_more_requests(server: Running) -> None:
    with server.connect() as client:
        for number in range(3):
            client.sendall(post(b"/%d" % number, 4) + b"a=bc")
            assert read_until(client, b"/%d 4" % number).startswith(b"HTTP/1.1 200 ")


def test_an_idle_kept_connection_is_closed_by_its_timer() -> None:
    with running(keep_alive=0.1, header_seconds=NEVER) as server, server.connect() as client:
        client.sendall(GET)
        assert statuses(read_to_end(client)) == [200]


@pytest.mark.parametrize("piece", [None, 1, 7, 300])
def test_pipelined_requests_are_answered_in_order(server: Running, piece: int | None) -> None:
    count = 40
    requests = b"".join(
        get(f"/{number}") if number % 2 else post(b"/%d" % number, 5) + b"\r\n\r\nx"
        for number in range(count)
    )
    with server.connect() as client:
        send(client, requests + get("/end", b"Connection: close\r\n"), piece)
        answers = read_to_end(client)
    paths = re.findall(rb"\r\n\r\n/(\w+) (\d)", answers)
    expected = [(b"%d" % number, b"0" if number % 2 else b"5") for number in range(count)]
    assert paths == [*expected, (b"end", b"0")]


def test_requests_pipelined_behind_chunks_are_answered_in_order(server: Running) -> None:
    one = CHUNKED + b"3;x=y\r\nabc\r\n" * 100 + b"0\r\nTrailer: x\r\n\r\n"
    with server.connect() as client:
        send(client, (one + GET) * 20 + get("/end", b"Connection: close\r\n"))
        answers = read_to_end(client)
    assert re.findall(rb"\r\n\r\n/(\w*) (\d+)", answers) == [
        *[(b"", b"300"), (b"", b"0")] * 20,
        (b"end", b"0"),
    ]


def test_a_body_in_chunks_of_a_byte_is_read(server: Running) -> None:
    with server.connect() as client:
        client.sendall(CHUNKED + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n")
        assert read_until(client, b"/ 3000")


def test_a_large_body_waits_for_a_slow_app() -> None:
    """The wait is not held against the client, whatever the minimum rate."""
    with running(body_grace_seconds=0.05, body_bytes_per_second=1e8) as server:
        with server.connect() as client:
            client.sendall(post(b"/wait-first", BIG))
            until(lambda: server.app.seen == ["/wait-first"])
            client.setblocking(False)
            sent = send_what_fits(client, bytes(BIG))
            assert sent < BIG
            assert server.connections[0].flow.read_paused
            time.sleep(0.2)
            server.app.go.set()
            client.settimeout(WAIT_SECONDS)
            client.sendall(bytes(BIG - sent))
            assert read_until(client, b"/wait-first %d" % BIG).startswith(b"HTTP/1.1 200 ")


def send_what_fits(client: socket.socket, data: bytes) -> int:
    """Sends until nothing fits for a while; returns how much did."""
    sent = 0
    while select.select([], [client], [], 0.2)[1]:
        sent += client.send(data[sent : sent + 65_536])
    return sent


def send_until_cut(client: socket.socket, piece: bytes) -> None:
    """Sends a piece again and again; fails if the server takes 8 MB of it."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for _ in range(8_000_000 // len(piece)):
            client.sendall(piece)
            time.sleep(0.001)
        pytest.fail("the server goes on reading")


def test_a_silent_new_connection_is_closed_without_a_word() -> None:
    with running(header_seconds=0.1) as server, server.connect() as client:
        assert read_to_end(client) == b""


def test_a_dripping_head_is_cut_at_the_deadline() -> None:
    with running(header_seconds=0.3) as server:
        started = time.monotonic()
        assert Endless(server, b"GET / HTTP/1.1\r\n", b"X: y\r\n").result() == [408]
        assert time.monotonic() - started >= 0.3


def test_a_dripping_later_head_is_cut_and_idling_before_it_is_not() -> None:
    with running(header_seconds=0.2) as server, server.connect() as client:
        client.sendall(GET)
        read_until(client, b"/ 0")
        assert is_open(client, 0.4)
        client.sendall(b"GET")
        assert statuses(read_to_end(client)) == [408]


def test_a_head_that_waits_for_an_answer_has_its_whole_time_after_it() -> None:
    with running(header_seconds=0.2) as server, server.connect() as client:
        client.sendall(get("/wait") + b"GET")
        assert is_open(client, 0.4)
        server.app.go.set()
        read_until(client, b"/wait 0")
        client.sendall(b" /later HTTP/1.1\r\nHost: a\r\n\r\n")
        read_until(client, b"/later 0")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (post(b"/", 100_000), b"x"),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"1;x=", b"y"),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
    ],
    ids=["length", "chunks", "an extension", "trailers"],
)
def test_a_dripping_body_is_cut_and_the_app_told(head: bytes, piece: bytes) -> None:
    limits = {"body_grace_seconds": 0.2, "body_bytes_per_second": 2000.0}
    with running(**limits) as server:
        assert Endless(server, head, piece).result() == [408]
        until(lambda: server.app.disconnects == 1)


def test_a_body_that_stops_is_cut() -> None:
    with running(body_grace_seconds=0.1) as server, server.connect() as client:
        client.sendall(post(b"/", 1_000_000) + b"x" * 50)
        assert statuses(read_to_end(client)) == [408]


def test_a_body_above_the_rate_is_not_cut() -> None:
    size = 100
    with running(body_grace_seconds=0.1, body_bytes_per_second=10.0) as server:
        with server.connect() as client:
            client.sendall(post(b"/", size))
            for _ in range(size):
                assert is_open(client, 0.005)
                client.sendall(b"x")
            read_until(client, b"/ %d" % size)


def test_an_app_that_works_is_not_a_slow_client() -> None:
    with running(body_grace_seconds=0.05, header_seconds=0.05) as server:
        with server.connect() as client:
            client.sendall(post(b"/wait", 3) + b"abc")
            assert is_open(client, 0.3)
            server.app.go.set()
            read_until(client, b"/wait 3")


def test_who_waits_for_100_continue_is_not_slow() -> None:
    with running(body_grace_seconds=0.05) as server, server.connect() as client:
        client.sendall(post(b"/wait-first", 3, b"Expect: 100-continue\r\n"))
        assert is_open(client, 0.3)
        server.app.go.set()
        read_until(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"abc")
        read_until(client, b"/wait-first 3")


def test_a_client_that_does_not_read_is_cut() -> None:
    with running(write_seconds=0.3) as server, server.connect() as client:
        client.sendall(get("/big"))
        until(lambda: server.app.seen == ["/big"])
        until(lambda: not server.connections)
        assert len(read_what_came(client)) < BIG


def test_a_client_that_reads_slowly_is_not_cut() -> None:
    with running(write_seconds=1.0) as server, server.connect() as client:
        client.sendall(get("/big", b"Connection: close\r\n"))
        received = 0
        while data := client.recv(BIG // 100):
            received += len(data)
            time.sleep(0.02)
        assert received > BIG


def test_slow_clients_of_five_kinds_are_cut_beside_an_honest_one() -> None:
    """Figure F12, small: headers, body, silence, chunks, and not reading, 60 of each."""
    dripping = (b"GET / HTTP/1.1\r\nX:", post(b"/", 1000) + b"x", CHUNKED + b"1\r\n")
    with (
        running(header_seconds=2.0, body_grace_seconds=2.0, write_seconds=2.0) as server,
        contextlib.ExitStack() as clients,
    ):
        for opening in (*dripping, b"", get("/big")) * 60:
            clients.enter_context(server.connect()).sendall(opening)
        honest = clients.enter_context(server.connect())
        while len(server.connections) > 1:
            honest.sendall(GET)
            read_until(honest, b"/ 0")


@pytest.mark.parametrize("count", [99, 100])
def test_the_number_of_headers_is_bounded(server: Running, count: int) -> None:
    with server.connect() as client:
        client.sendall(get("/", b"X: y\r\n" * (count - 1) + b"Connection: close\r\n"))
        assert statuses(read_to_end(client)) == [200 if count == 99 else 431]


@pytest.mark.parametrize("piece", [None, 1000])
@pytest.mark.parametrize(("over", "status"), [(0, 200), (1, 431)])
def test_the_bytes_of_a_head_are_bounded(
    server: Running, over: int, status: int, piece: int | None
) -> None:
    bare = get("/", b"Connection: close\r\nX: \r\n")
    filled = bare.replace(b"X: ", b"X: " + b"y" * (32_768 - len(bare) + over))
    with server.connect() as client:
        send(client, filled, piece)
        assert statuses(read_to_end(client)) == [status]


@pytest.mark.parametrize(
    "first",
    [b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\nX", b"GET /", CHUNKED + b"0\r\n\r\nGET /"],
    ids=["value", "name", "target", "behind chunks"],
)
def test_an_endless_head_is_cut(server: Running, first: bytes) -> None:
    with server.connect() as client:
        answer = Reader(client)
        client.sendall(first)
        send_until_cut(client, b"x" * 4096)
        assert statuses(answer.result())[-1] == 431


def test_a_head_whose_last_byte_comes_with_the_body_is_not_too_long(server: Running) -> None:
    head = post(b"/", 100_000)
    with server.connect() as client:
        for split in range(1, 4):
            client.sendall(head[:-split])
            assert is_open(client, 0.05)
            client.sendall(head[-split:] + bytes(100_000))
            read_until(client, b"/ 100000")


@pytest.mark.parametrize(
    "piece",
    [b"1\r\nx\r\n", b"1;" + b"x" * 4000 + b"\r\ny\r\n", b"0\r\n" + b"X: y\r\n" * 4000],
    ids=["tiny chunks", "extensions", "trailers"],
)
def test_framing_that_outweighs_the_body_is_refused(server: Running, piece: bytes) -> None:
    with server.connect() as client:
        send(client, CHUNKED + piece * (200_000 // len(piece)))
        assert statuses(read_to_end(client)) == [400]


def test_no_reading_ahead_of_a_client_that_does_not_read() -> None:
    with running(write_seconds=NEVER) as server, server.connect() as client:
        client.setblocking(False)
        sent = send_what_fits(client, get("/big") + GET * 1_000_000)
        connection = server.connections[0]
        assert len(connection.pipeline) <= 2
        assert connection.flow.read_paused
        assert len(connection._rest) <= 262_144
        assert sent < 16_000_000
        assert len(server.app.seen) <= 2


def test_a_bad_request_waits_for_the_answers_before_it() -> None:
    with running() as server, server.connect() as client:
        client.sendall(get("/wait") + get("/2") + b"JUNK\r\n\r\n" + GET)
        until(lambda: server.app.seen == ["/wait"])
        assert is_open(client, 0.1)
        server.app.go.set()
        answers = read_to_end(client)
    assert statuses(answers) == [200, 200, 400]
    assert server.app.seen == ["/wait", "/2"]


def test_a_bad_body_of_a_waiting_request_costs_only_that_request() -> None:
    with running() as server, server.connect() as client:
        first = CHUNKED.replace(b"/", b"/wait", 1) + b"1\r\na\r\n0\r\n\r\n"
        client.sendall(first + CHUNKED + b"0x1\r\n")
        until(lambda: server.app.seen == ["/wait"])
        server.app.go.set()
        assert statuses(read_to_end(client)) == [200, 400]
        assert server.app.seen == ["/wait"]


def test_both_requests_of_a_lost_connection_are_told() -> None:
    with running() as server:
        with server.connect() as client:
            client.sendall(get("/wait") + get("/2"))
            until(lambda: bool(server.connections and server.connections[0].pipeline))
            connection = server.connections[0]
            active = connection._active
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.app.go.set()
        until(lambda: not server.connections)
        assert active is not None
        assert active.disconnected or active.response_complete
        assert "/2" not in server.app.seen or active.response_complete


def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    size = 5 * 1024 * 1024
    with running() as server, server.connect() as client:
        answer = Reader(client)
        send(client, post(b"/early", size))
        send(client, bytes(size), 65_536)
        assert statuses(answer.result()) == [413]
        until(lambda: not server.connections)


def test_an_early_answer_reaches_a_client_that_has_sent_what_may_linger(server: Running) -> None:
    """It sends first, without looking, then reads: stock resets such a connection."""
    with server.connect() as client:
        client.sendall(post(b"/early", 5_000_000))
        for _ in range(20):
            client.sendall(bytes(10_000))
            time.sleep(0.002)
        assert statuses(read_to_end(client)) == [413]


def test_lingering_ends() -> None:
    with running(linger_seconds=0.2) as server, server.connect() as client:
        client.sendall(post(b"/early", 5_000_000))
        assert statuses(read_to_end(client)) == [413]
        until(lambda: not server.connections)


def test_an_early_answer_may_keep_the_connection() -> None:
    with running(keep_alive=0.2) as server, server.connect() as client:
        client.sendall(post(b"/early-keep", 200_000))
        read_until(client, b"too large")
        client.sendall(bytes(200_000) + get("/next"))
        read_until(client, b"/next 0")
        client.sendall(post(b"/early-keep", 2) + b"a")
        read_until(client, b"too large")
        client.sendall(b"b")
        # Stock forgot its timer here and kept the connection for ever.
        assert read_to_end(client) == b""


def test_an_early_answer_does_not_keep_a_connection_whose_body_never_ends() -> None:
    chunk = b"1000\r\n" + bytes(0x1000) + b"\r\n"
    with running(unread_bytes=100_000) as server, server.connect() as client:
        answer = Reader(client)
        client.sendall(CHUNKED.replace(b"/ ", b"/early-keep ", 1))
        send_until_cut(client, chunk)
        assert statuses(answer.result()) == [413]


def test_connections_are_bounded_in_all() -> None:
    with running(connections=2, per_address=0) as server, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(server.connect()) for _ in range(2)]
        until(lambda: len(server.connections) == 2)
        refuse_one(server, "127.0.0.1")
        kept.pop().close()
        until(lambda: len(server.connections) == 1)
        serve_one(server, "127.0.0.1")


def test_connections_are_bounded_per_address() -> None:
    with running(per_address=2) as server, contextlib.ExitStack() as stack:
        kept = [stack.enter_context(server.connect("127.0.0.2")) for _ in range(2)]
        until(lambda: len(server.connections) == 2)
        refuse_one(server, "127.0.0.2")
        serve_one(server, "127.0.0.3")
        kept.pop().close()
        until(lambda: len(server.connections) == 1)
        serve_one(server, "127.0.0.2")


def test_a_crowd_above_the_ceiling_is_closed_at_once() -> None:
    with running(connections=1, linger_seconds=NEVER) as server, contextlib.ExitStack() as stack:
        served = stack.enter_context(server.connect())
        served.sendall(GET)
        read_until(served, b"/ 0")
        for _ in range(200):
            stack.enter_context(server.connect())
        served.sendall(GET)
        read_until(served, b"/ 0")
        until(lambda: len(server.connections) < 100)


def refuse_one(server: Running, source: str) -> None:
    with server.connect(source) as client:
        answer = read_to_end(client)
    assert statuses(answer) == [503]
    assert b"\r\nretry-after: 5\r\n" in answer


def serve_one(server: Running, source: str) -> None:
    with server.connect(source) as client:
        client.sendall(get("/", b"Connection: close\r\n"))
        assert statuses(read_to_end(client)) == [200]


def test_the_ceiling_is_bounded_by_the_descriptors() -> None:
    assert ConnectionLimits(connections=10).ceiling() == 10
    assert ConnectionLimits(connections=10**12).ceiling() < 10**12


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("1.2.3.4", b"\1\2\3\4"),
        ("::ffff:1.2.3.4", b"\1\2\3\4"),
        ("2001:db8::1", b"\x20\x01\x0d\xb8\0\0\0\0"),
        ("2001:db8::ffff:0:0:1", b"\x20\x01\x0d\xb8\0\0\0\0"),
        ("fe80::1%eth0", b"\xfe\x80\0\0\0\0\0\0"),
        ("nonsense", None),
    ],
)
def test_whom_an_address_counts_for(host: str, key: bytes | None) -> None:
    assert address_key(host) == key


def test_running_out_of_descriptors_does_not_stop_the_accepting() -> None:
    with process(descriptors=40) as (port, _), contextlib.ExitStack() as stack:
        address = ("127.0.0.1", port)
        for _ in range(100):
            stack.enter_context(socket.create_connection(address, WAIT_SECONDS))
        stack.close()
        until(lambda: is_served(port))


def test_a_post_in_flight_is_answered_through_the_shutdown() -> None:
    with process(descriptors=200) as (port, server):
        assert server.stdout is not None
        with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as client:
            client.sendall(post(b"/", 3) + b"ab")
            until(lambda: is_served(port))
            server.send_signal(signal.SIGTERM)
            assert server.stdout.readline() == b"draining\n"
            until(lambda: not is_served(port))
            client.sendall(b"c")
            answer = read_to_end(client)
        assert answer.endswith(b"/ 3")
        assert b"\r\nconnection: close\r\n" in answer
        assert server.wait(WAIT_SECONDS) == 0


def is_served(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as client:
            client.sendall(get("/", b"Connection: close\r\n"))
            return statuses(read_to_end(client)) == [200]
    except ConnectionError:
        return False


@contextlib.contextmanager
def process(descriptors: int) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """A served process and its port."""
    command = [sys.executable, "-m", "tests.runtime.server", str(descriptors)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline()), server
        finally:
            server.kill()
