"""One request and its answer, in HTTP/1.1."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import h11

from backend.outbound.errors import OutboundError
from backend.outbound.targets import Target

CONTENT_MAX = 4_096
"""Bytes of an answer's content that are kept."""
ANSWER_MAX = 65_536
"""Bytes of an answer that are read, whatever they are: interim answers, headers, content."""
# Parsing so much takes some milliseconds at worst, when a target sends chunks of one byte.
_READ_BYTES = 4_096
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "expect"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a target answered; ``content`` is its first ``CONTENT_MAX`` bytes, as they came."""

    status: int
    content: bytes


class Exchange:
    """A POST to ``target``. Headers that concern the connection, or how the answer is encoded,
    are this class's own; ``headers`` of these names are left out.

    Raises:
        OutboundError: a header cannot be sent as it is.
    """

    def __init__(self, target: Target, content: bytes, headers: Mapping[str, str]) -> None:
        self._http = h11.Connection(h11.CLIENT)
        try:
            self._request = self._serialise(target, content, headers)
        except h11.LocalProtocolError:
            raise OutboundError(
                "a header of the request has a name or a value that cannot be sent"
            ) from None
        self._status: int | None = None
        self._content = bytearray()

    async def carry_out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        """Sends the request and reads the answer, of which ``ANSWER_MAX`` bytes are enough.

        Raises:
            OutboundError: the answer is incomplete, or none.
        """
        # Not drained: a target may answer without having read all of the request.
        writer.write(self._request)
        try:
            await self._read(reader)
        except h11.RemoteProtocolError:
            _, is_closed = self._http.trailing_data
            raise OutboundError(
                "the target closed the connection before the end of its answer"
                if is_closed
                else "the target's answer is not valid HTTP/1.1"
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OutboundError(f"the connection to the target broke: {reason}") from None
        if self._status is None:
            raise OutboundError("the target sent much and no answer among it")
        return Answer(self._status, bytes(self._content))

    def _serialise(self, target: Target, content: bytes, headers: Mapping[str, str]) -> bytes:
        given = [
            (name.encode(), value.encode())
            for name, value in headers.items()
            if name.lower() not in _OWN_HEADERS
        ]
        request = h11.Request(
            method="POST",
            target=target.resource,
            headers=[
                (b"Host", target.authority.encode()),
                *given,
                (b"Accept-Encoding", b"identity"),
                (b"Connection", b"close"),
                (b"Content-Length", b"%d" % len(content)),
            ],
        )
        parts = [
            self._http.send(event)
            for event in (request, h11.Data(data=content), h11.EndOfMessage())
        ]
        return b"".join(part for part in parts if part)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        received = 0
        while received < ANSWER_MAX:
            data = await reader.read(_READ_BYTES)
            received += len(data)
            self._http.receive_data(data)
            if self._take_events():
                return
            # Reading what has arrived already does not wait: let others have the loop in between.
            await asyncio.sleep(0)

    def _take_events(self) -> bool:
        """Whether the answer is complete. Raises h11.RemoteProtocolError."""
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self._status = event.status_code
            elif isinstance(event, h11.Data):
                self._content += event.data[: CONTENT_MAX - len(self._content)]
            elif not isinstance(event, h11.InformationalResponse):
                return True
        return False
