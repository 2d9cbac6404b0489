"""One request and its answer, between the protocol and the app.

Uvicorn's, but for the answer: its head and the first of its body leave in one write (ASGI: nothing
is sent before the first body message), and a whole head is checked at once instead of each name and
value by a regular expression, which was a fifth of the gateway's work.
"""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, RequestResponseCycle

Header = tuple[bytes, bytes]

# Of these a head has two a line, its line ends; a tab may stand in a value (RFC 9110, 5.5).
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_CLOSE = b"connection: close\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)


class Exchange(RequestResponseCycle):
    """An ASGI request-response cycle."""

    # What of the answer waits for its body.
    _head = b""
    # Whether anything of the answer has been written.
    is_on_wire = False

    async def send(self, message: Any) -> None:
        """ASGI's. Raises RuntimeError for a message out of turn and for an impossible answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"{kind} came before http.response.start")
            self._begin(message["status"], message.get("headers", ()))
        elif kind != "http.response.body" or self.response_complete:
            raise RuntimeError(f"{kind} came out of turn")
        else:
            self._write(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Iterable[Header]) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [self._line(name, value) for name, value in self.default_headers]
        lines += [self._line(name, value) for name, value in headers]
        head = b"".join(lines)
        if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(lines):
            raise RuntimeError("a header of the answer holds a control character")
        if self.chunked_encoding is None and status not in _BODILESS and not self._is_for_head:
            self.chunked_encoding = True
            head += _CHUNKED
        if not self.keep_alive and _CLOSE not in head:
            head += _CLOSE
        self._head = STATUS_LINE[status] + head + b"\r\n"

    def _write(self, body: bytes, has_more: bool) -> None:
        head, self._head = self._head, b""
        self.is_on_wire = True
        self.transport.write(head + self._framed(body, has_more))
        if has_more:
            return
        if self.expected_content_length:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _framed(self, body: bytes, has_more: bool) -> bytes:
        if self._is_for_head:
            self.expected_content_length = 0
            return b""
        if self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if has_more else chunk + b"0\r\n\r\n"
        self.expected_content_length -= len(body)
        if self.expected_content_length < 0:
            raise RuntimeError("the answer is longer than its Content-Length")
        return body

    @property
    def _is_for_head(self) -> bool:
        return self.scope["method"] == "HEAD"

    def _line(self, name: bytes, value: bytes) -> bytes:
        """The line of a header; what it says about framing is noted."""
        name = _checked_name(name)
        if name == b"content-length":
            if self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
        elif name == b"transfer-encoding":
            self.expected_content_length = 0
            self.chunked_encoding = value.lower() == b"chunked"
        elif name == b"connection" and b"close" in value.lower():
            self.keep_alive = False
            return _CLOSE
        return b"%b: %b\r\n" % (name, value)


@lru_cache(maxsize=1024)
def _checked_name(name: bytes) -> bytes:
    """The name in lower case. Raises RuntimeError for what is not a token (RFC 9110, 5.6.2)."""
    if HEADER_RE.search(name):
        raise RuntimeError("a header of the answer has an invalid name")
    return name.lower()
