"""A visitor's side of HTTP/1.1 over a raw socket: what was sent, and what came back whole."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

ANSWER_SECONDS = 20.0
_CHUNK = 65_536


class NoAnswer(Exception):
    """The connection failed, or its answer was not whole in time: nothing has been promised."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A keep-alive connection to one server, opened again when it has ended."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._host, self._port = host, int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(
        self,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """Posts a form. Raises NoAnswer."""
        form = {"Content-Type": "application/x-www-form-urlencoded"} | dict(headers or {})
        return await self.send(request(path, urlencode(fields).encode(), form), seconds)

    async def send(self, message: bytes, seconds: float = ANSWER_SECONDS) -> Answer:
        """Sends one request once. Raises NoAnswer."""
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(message)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.close()
            raise NoAnswer(repr(error)) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, message: bytes) -> Answer:
        if self._streams is not None and self._streams[0].at_eof():
            # Closed by the server while nothing was under way: no answer is lost.
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(message)
        await writer.drain()
        answer = await read_answer(reader)
        if answer.headers.get("connection") == "close":
            self.close()
        return answer


def request(path: str, body: bytes, headers: Mapping[str, str], method: str = "POST") -> bytes:
    """The bytes of one request."""
    lines = {"Host": "formflow.test", "Content-Length": str(len(body))} | dict(headers)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer. Raises OSError, EOFError, ValueError if it is not whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.lower(): value.strip() for name, value in pairs}
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await _read_chunks(reader) if "transfer-encoding" in headers else b""
    return Answer(int(status_line.split(" ")[1]), headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readline()
    return b"".join(chunks)
