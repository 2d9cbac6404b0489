"""Reading requests off a connection: strictly, within bounds, and no further than is needed.

Half of the server's protocol; ``contracts.runtime.protocol`` adds the deadlines and the ending.
"""

import asyncio
import logging
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from contracts.runtime.connections import ConnectionLimits, HeldFlow
from contracts.runtime.exchange import Exchange
from contracts.runtime.framing import Refused, body_length, check_target
from contracts.runtime.turns import Turns

_logger = logging.getLogger(__name__)

# Where the connection stands: between two requests, in a request's head, or in its body. A new
# connection stands in a head, of which nothing has come yet.
IDLE, HEAD, BODY = range(3)

_ASGI = {"version": "3.0", "spec_version": "2.3"}
_HEAD_END = b"\r\n\r\n"
# Chunked bodies are parsed in pieces between these sizes, so that what is pipelined behind the
# last chunk is noticed soon.
_CHUNKED_PIECE = 1024
_CHUNKED_PIECE_MAX = 8192
_OVERHEAD_FACTOR = 4

_BAD_REQUEST = Refused(HTTPStatus.BAD_REQUEST, "The request is not well-formed HTTP/1.1.")
_OVERHEAD = Refused(HTTPStatus.BAD_REQUEST, "The body's chunks are too small.")
_TOO_LARGE = Refused(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request line and headers are too long."
)


class StrictProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, fed request by request: one is answered, at most a few wait.

    Per request it only notes where the connection stands; judging that is the subclass's.
    """

    limits: ClassVar[ConnectionLimits]
    turns: ClassVar[Turns]
    flow: HeldFlow
    cycle: Exchange

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._phase = HEAD
        # When the phase began; None until the subclass has noticed.
        self._since: float | None = self.loop.time()
        self._head_bytes = 0
        self._head_tail = b""
        # Of the body: its length (None: in chunks), what came of it, and in how many raw bytes.
        self._length: int | None = 0
        self._body_bytes = 0
        self._raw_bytes = 0
        self._is_upgrading = False
        # The request that is being answered; uvicorn's ``cycle`` is the newest one.
        self._active: Exchange | None = None
        # What came behind a waiting request, not parsed yet.
        self._rest = b""
        # Whether nothing is parsed any more.
        self._is_deaf = False

    @property
    def _is_answering(self) -> bool:
        active = self._active
        return active is not None and not (active.response_complete or active.disconnected)

    def data_received(self, data: bytes) -> None:
        """Parses request by request, until one has to wait for the answer to another."""
        if self._is_deaf:
            self._throw_away(data)
            return
        if self.pipeline:
            self._rest += data
            return
        start, size = 0, len(data)
        while start < size and not self.pipeline and not self._is_deaf:
            start += self._parse(data[start : self._piece_end(data, start)])
        if self.pipeline and not self._is_deaf:
            self._rest = data[start:]
            self.flow.hold()

    def on_headers_complete(self) -> None:
        if self._head_bytes > self.limits.header_bytes:
            raise _TOO_LARGE
        parser = self.parser
        method, version = parser.get_method(), parser.get_http_version()
        if self.url[:1] != b"/":
            check_target(method, self.url)
        self._length = body_length(version, self.headers, self.limits.headers)
        if parser.should_upgrade():
            self._is_upgrading = True
            return
        self._begin_exchange(method.decode("ascii"), version)
        # The app has the list: trailer fields, which nobody checks, must not join it.
        self.headers = []
        self._phase = BODY
        self._since = None
        self._body_bytes = self._raw_bytes = 0

    def _begin_exchange(self, method: str, version: str) -> None:
        is_busy = self._is_answering
        self.cycle = Exchange(
            scope=self._scope(method, version),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if is_busy:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        else:
            self._start(self.cycle)

    def _scope(self, method: str, version: str) -> Any:
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state.copy(),
        }

    def _start(self, cycle: Exchange) -> None:
        self._active = cycle
        self.turns.wait(self.loop, partial(self._work_on, cycle))

    def _work_on(self, cycle: Exchange) -> None:
        self.tasks.add(self.loop.create_task(self._run(cycle, self.turns.begin())))

    async def _run(self, cycle: Exchange, began: int) -> None:
        try:
            await cycle.run_asgi(self.app)
        finally:
            self.tasks.discard(asyncio.current_task())
            self.turns.end(began)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_upgrading:
            super().on_message_complete()
            self._phase = IDLE
            self._since = None

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            if self._phase == IDLE:
                self._since = None
            self.flow.resume_reading()
            if self.pipeline:
                self._start(cast(Exchange, self.pipeline.pop()[0]))
                self._read_on()
        if self._is_deaf:
            self._finish()

    def _refuse(self, refused: Refused) -> None:
        """Answers the newest request with a problem, and turns deaf."""
        raise NotImplementedError

    def _finish(self) -> None:
        """Called when an answer is complete and nothing more is parsed."""
        raise NotImplementedError

    def _throw_away(self, data: bytes) -> None:
        """Called with what comes when nothing more is parsed."""
        raise NotImplementedError

    def _read_on(self) -> None:
        if not self.pipeline and not self._is_deaf:
            rest, self._rest = self._rest, b""
            self.flow.release()
            self.data_received(rest)

    def _piece_end(self, data: bytes, start: int) -> int:
        """Where to cut so that a piece holds the end of one head or body, or of a few tiny ones."""
        size = len(data)
        if self._phase != BODY:
            end = self._head_end(data, start)
            return min(end, start + self.limits.header_bytes - self._head_bytes + 1)
        if self._length is not None:
            return min(size, start + self._length - self._body_bytes)
        found = data.find(_HEAD_END, start + _CHUNKED_PIECE)
        end = size if found < 0 else found + len(_HEAD_END)
        return min(end, start + _CHUNKED_PIECE_MAX)

    def _head_end(self, data: bytes, start: int) -> int:
        tail = self._head_tail
        if tail and self._phase == HEAD:
            across = (tail + data[start : start + 3]).find(_HEAD_END)
            if across >= 0:
                return start + across + len(_HEAD_END) - len(tail)
        found = data.find(_HEAD_END, start)
        return len(data) if found < 0 else found + len(_HEAD_END)

    def _parse(self, piece: bytes) -> int:
        """Feeds the parser; returns how many bytes it took."""
        size = len(piece)
        if self._phase == BODY:
            self._raw_bytes += size
        else:
            if self._phase == IDLE:
                self._begin_head(b"")
            self._head_bytes += size
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_without_upgrade()
            return int(upgrade.args[0])
        except httptools.HttpParserError as error:
            self._refuse(_refusal_of(error))
        if self._phase != IDLE or self._length is None:
            self._check_piece(piece)
        return size

    def _parse_without_upgrade(self) -> None:
        """Parses the head again as a plain request: the offer may be ignored (RFC 9110, 7.8).

        The parser takes all that follows a head with Upgrade for another protocol.
        """
        self._is_upgrading = False
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        try:
            self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))
        except httptools.HttpParserError as error:
            self._refuse(_refusal_of(error))

    def _begin_head(self, tail: bytes) -> None:
        self._phase = HEAD
        self._since = None
        self._head_bytes = 0
        self._head_tail = tail

    def _check_piece(self, piece: bytes) -> None:
        """Bounds what is not complete yet."""
        if self._is_deaf:
            return
        if self._phase == HEAD:
            self._head_tail = (self._head_tail + piece)[-3:]
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(_TOO_LARGE)
        elif self._length is not None:
            return
        elif self._phase == BODY:
            overhead = self._raw_bytes - (1 + _OVERHEAD_FACTOR) * self._body_bytes
            if overhead > self.limits.chunk_overhead_bytes:
                self._refuse(_OVERHEAD)
        elif not piece.endswith(_HEAD_END):
            # Behind the last chunk, the piece holds the beginning of the next head.
            self._begin_head(piece[-3:])


def _refusal_of(error: httptools.HttpParserError) -> Refused:
    cause = error.__context__
    if isinstance(cause, Refused):
        return cause
    if cause is not None and not isinstance(cause, httptools.HttpParserError):
        _logger.error("A request could not be taken.", exc_info=cause)
    return _BAD_REQUEST
