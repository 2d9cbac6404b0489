"""Ends a process whose own end takes too long.

The parts of a process stop one after the other, each within a time of its own, but not all that may
hold them up can be bounded: a disk that hangs holds a thread, and the interpreter waits for its
threads. Whatever was acknowledged is on a disk, so that ending by force costs no more than a kill.
"""

import os
import queue
import threading
import time

from contracts.runtime.telemetry import finish_logging, get_logger


class LastResort:
    """Waits in a thread to be armed; from then on the process has ``seconds`` to end by itself."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # Its ``put`` may interrupt itself, which is what a signal handler needs.
        self._statuses: queue.SimpleQueue[int] = queue.SimpleQueue()
        threading.Thread(target=self._end, name="last-resort", daemon=True).start()

    def arm(self, status: int) -> None:
        """Begins the time, unless it runs already. ``status`` is what the process would exit with;
        of several the highest."""
        self._statuses.put(status)

    def _end(self) -> None:
        status = self._statuses.get()
        deadline = time.monotonic() + self._seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                status = max(status, self._statuses.get(timeout=left))
            except queue.Empty:
                break
        get_logger("runtime").error("stopping took too long, ended by force", status=status)
        finish_logging()
        os._exit(status)
