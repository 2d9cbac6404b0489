"""The server's side of a connection: uvicorn's, with deadlines, bounds and strict framing.

Stock uvicorn never cuts a slow client, reads ahead of one that does not read, and closes on a
client that is still sending, which loses the answer. Time is judged by one timer for all
connections (``Watch``), so that a request pays next to nothing.
"""

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from contracts.runtime.connections import AnswerTransport, ConnectionLimits, HeldFlow, Watch
from contracts.runtime.framing import Refused, raw_answer
from contracts.runtime.parsing import BODY, HEAD, StrictProtocol
from contracts.runtime.turns import Turns

__all__ = ["ConnectionLimits", "HardenedProtocol", "protocol_class"]

_SLOW_HEAD = Refused(HTTPStatus.REQUEST_TIMEOUT, "The request's headers took too long.")
_SLOW_BODY = Refused(HTTPStatus.REQUEST_TIMEOUT, "The request's body came too slowly.")
_FULL = Refused(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections. Try again soon.")


def protocol_class(bounds: ConnectionLimits) -> type["HardenedProtocol"]:
    """The protocol for one server, as uvicorn's ``http`` setting takes it."""

    class BoundProtocol(HardenedProtocol):
        limits = bounds
        watch = Watch(bounds)
        turns = Turns(bounds.at_once)

    return BoundProtocol


class HardenedProtocol(StrictProtocol):
    """One connection, from its acceptance to its end. Use ``protocol_class``."""

    watch: ClassVar[Watch]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # A refusal that waits for the answers to earlier requests.
        self._last_words = b""
        self._linger_until: float | None = None
        self._linger_bytes = self.limits.linger_bytes
        self._unsent = 0
        self._stuck_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wire = transport
        self._gate = AnswerTransport(transport, self._close)
        self.transport = cast(asyncio.Transport, self._gate)
        self.flow = HeldFlow(transport)
        if not self.watch.admit(self, self.loop):
            self._refuse(_FULL)
            if self.watch.is_crowded:
                transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.forget(self)
        if self._active is not None and self._is_answering:
            # Stock tells only the newest request.
            self._active.disconnected = True
            self._active.message_event.set()
        super().connection_lost(exc)
        self._gate.detach(self._wire)

    def resume_writing(self) -> None:
        self._unsent = 0
        super().resume_writing()

    def check(self, now: float, tick: float) -> None:
        """Called by the watch at every tick: cuts the connection if it is past a deadline."""
        size = self._wire.get_write_buffer_size()
        if size and self._is_stuck(size, now):
            self._wire.abort()
        elif self._linger_until is not None:
            if now >= self._linger_until:
                self._wire.close()
        elif self._is_deaf or self._wire.is_closing():
            return
        elif self._phase == HEAD:
            self._check_head(now)
        elif self._phase == BODY:
            self._check_body(now, tick)
        elif not self._is_answering:
            self._check_idle(now)

    def _is_stuck(self, size: int, now: float) -> bool:
        if not self._unsent or size < self._unsent:
            self._stuck_since = now
        self._unsent = size
        return now - self._stuck_since >= self.limits.write_seconds

    def _check_idle(self, now: float) -> None:
        if self._since is None:
            self._since = now
        elif now - self._since >= self.timeout_keep_alive:
            self._close()

    def _check_head(self, now: float) -> None:
        if self._is_answering:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self.limits.header_seconds:
            if self._head_bytes:
                self._refuse(_SLOW_HEAD)
            else:
                self._wire.close()

    def _check_body(self, now: float, tick: float) -> None:
        """The rate is over all of the body, but for the time in which it was we who waited."""
        if self._since is None:
            self._since = now
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._since += tick
        elif self.cycle.response_complete and self._body_bytes > self.limits.unread_bytes:
            self._close()
        else:
            elapsed = now - self._since
            due = self.limits.body_bytes_per_second * elapsed
            if elapsed >= self.limits.body_grace_seconds and self._body_bytes < due:
                self._refuse(_SLOW_BODY)

    def _refuse(self, refused: Refused) -> None:
        """Answers with a problem and closes, in turn: after the answers to earlier requests."""
        self._is_deaf = True
        self._last_words = raw_answer(refused, self.server_state.default_headers)
        if self._phase == BODY:
            self._give_up_newest()
        if self._is_answering:
            self.flow.hold()
        else:
            self._say_last_words()

    def _give_up_newest(self) -> None:
        """The request whose body is bad or late gets no other answer than the refusal."""
        if self.pipeline:
            self.pipeline.popleft()
            return
        if self.cycle.is_on_wire:
            self._last_words = b""
        self.cycle.disconnected = True
        self.cycle.message_event.set()

    def _throw_away(self, data: bytes) -> None:
        self._linger_bytes -= len(data)
        if self._linger_bytes < 0:
            self._wire.close()

    def _finish(self) -> None:
        if not self._is_answering and not self.transport.is_closing():
            self._say_last_words()

    def _say_last_words(self) -> None:
        if self._last_words:
            self._wire.write(self._last_words)
        self._linger()

    def _close(self) -> None:
        """What uvicorn's closing becomes: a client that is still sending gets the answer first."""
        if self.transport.is_closing():
            return
        if self._phase == BODY or self.pipeline or self.flow.read_paused:
            self._linger()
        else:
            self._wire.close()

    def _linger(self) -> None:
        """Ends our side and reads on for a moment (RFC 9112, 9.6).

        Closing while bytes are unread makes the kernel send a reset, which may overtake the answer.
        """
        self._is_deaf = True
        self._rest = b""
        self._linger_until = self.loop.time() + self.limits.linger_seconds
        self._gate.is_closing = _always
        if self._wire.can_write_eof():
            self._wire.write_eof()
        self.flow.release()


def _always() -> bool:
    return True
