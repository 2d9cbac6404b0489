"""The end of a process that must not go on: a failed disk, a background task that died."""

import asyncio
from collections.abc import Callable

from contracts.runtime.settings import StartError
from contracts.runtime.telemetry import get_logger


class ProcessFailed(StartError):
    """A process ended itself; the message is one line that says why."""


class Failure:
    """Set at most once. From then on the process is unready, and ``serve`` ends it."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._is_set = asyncio.Event()

    def set(self, reason: str) -> None:
        """Notes why the process must end. On the event loop's thread."""
        if self.reason is None:
            self.reason = reason
            get_logger("runtime").error("process failed", error=reason)
            self._is_set.set()

    async def wait(self) -> None:
        """Returns when there is a reason."""
        await self._is_set.wait()

    def watch(self, task: asyncio.Task[None], name: str) -> asyncio.Task[None]:
        """The task; if it ends other than by being cancelled, the process must not go on."""
        task.add_done_callback(self._ended(name))
        return task

    def _ended(self, name: str) -> Callable[[asyncio.Task[None]], None]:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self.set(f"{name} ended: {task.exception()!r}")

        return ended
