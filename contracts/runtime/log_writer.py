"""Writes log lines from a thread, so that a slow or blocked stderr never holds the event loop.

Lines wait for a moment and leave together. Beyond a bound they are dropped, and so are those that
the file does not take: a service must not stop because nobody reads its log, or its disk is full.
They are counted, and the next line that is written says how many it were.
"""

import atexit
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

LINES_MAX = 10_000
_GATHER_SECONDS = 0.02
_EXIT_SECONDS = 1.0
_NEWLINE = ord(b"\n")


class RawFile(Protocol):
    """An unbuffered binary file, such as ``io.FileIO``: nothing waits in it, and no lock of its
    is held by a write that blocks, for which the interpreter would wait at its end."""

    def write(self, data: bytes, /) -> int | None:
        """Writes the start of ``data``; how many bytes, None if it would block. Raises OSError."""


class LogWriter:
    """A text file for ``structlog.WriteLogger`` whose ``write`` never blocks."""

    def __init__(self, file: RawFile, lines_max: int = LINES_MAX) -> None:
        self._file = file
        self._lines_max = lines_max
        self._lines: deque[str] = deque()
        self._has_lines = threading.Event()
        self._is_closing = False
        self._told = 0
        # Apart, because each is counted by threads of its own.
        self._overflowed = 0
        self._unwritten = 0
        self._is_amid_line = False
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def dropped(self) -> int:
        """Lines that were not written, or not whole, since the start."""
        return self._overflowed + self._unwritten

    def write(self, text: str) -> None:
        """Queues a line, or drops it if too many wait."""
        if len(self._lines) >= self._lines_max:
            self._overflowed += 1
            return
        self._lines.append(text)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def flush(self) -> None:
        """Does nothing: lines are flushed as they are written."""

    def close(self) -> None:
        """Waits for the queued lines, but not for a reader who never comes."""
        self._is_closing = True
        self._has_lines.set()
        self._thread.join(_EXIT_SECONDS)

    def _write_all(self) -> None:
        while self._lines or not self._is_closing:
            self._has_lines.wait()
            if not self._is_closing:
                time.sleep(_GATHER_SECONDS)
            self._has_lines.clear()
            self._write_queued()

    def _write_queued(self) -> None:
        self._unwritten += self._put([self._lines.popleft() for _ in range(len(self._lines))])
        dropped = self.dropped
        if dropped > self._told:
            notice = f'{{"event": "{dropped - self._told} log lines were dropped"}}\n'
            if self._put([notice]) == 0:
                self._told = dropped

    def _put(self, lines: Sequence[str]) -> int:
        """Writes lines; how many of them could not be written whole."""
        encoded = [line.encode(errors="backslashreplace") for line in lines]
        if self._is_amid_line:
            encoded.insert(0, b"\n")
        data = b"".join(encoded)
        written = self._write_bytes(data)
        if written:
            self._is_amid_line = data[written - 1] != _NEWLINE
        left, lost = len(data) - written, 0
        while left > 0:
            left -= len(encoded.pop())
            lost += 1
        return min(lost, len(lines))

    def _write_bytes(self, data: bytes) -> int:
        written = 0
        with suppress(OSError):
            # There is nowhere else to say it; the count is in the metrics.
            while written < len(data) and (taken := self._file.write(data[written:])):
                written += taken
        return written
