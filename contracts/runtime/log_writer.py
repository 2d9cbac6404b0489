"""Writes log lines from a thread, so that a slow or blocked stderr never holds the event loop.

Lines wait for a moment and leave together. Beyond a bound they are dropped, and the next line that
is written says how many: a service must not stop because nobody reads its log.
"""

import atexit
import threading
import time
from collections import deque
from typing import IO

LINES_MAX = 10_000
_GATHER_SECONDS = 0.02
_EXIT_SECONDS = 1.0


class LogWriter:
    """A text file for ``structlog.WriteLogger`` whose ``write`` never blocks."""

    def __init__(self, file: IO[str], lines_max: int = LINES_MAX) -> None:
        self.dropped = 0
        self._file = file
        self._lines_max = lines_max
        self._lines: deque[str] = deque()
        self._has_lines = threading.Event()
        self._is_closing = False
        self._told = 0
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def write(self, text: str) -> None:
        """Queues a line, or drops it if too many wait."""
        if len(self._lines) >= self._lines_max:
            self.dropped += 1
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
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if self.dropped > self._told:
            lines.append(f'{{"event": "{self.dropped - self._told} log lines were dropped"}}\n')
            self._told = self.dropped
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except OSError:
            # There is nowhere left to say it; the count is in the metrics.
            self.dropped += len(lines)
