"""The end of a process that must not go on: a failed disk, a background loop that died."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from contracts.runtime.settings import StartError
from contracts.runtime.telemetry import get_logger

Loop = Coroutine[Any, Any, None]


class ProcessFailed(StartError):
    """A process ended itself; the message is one line that says why."""


class LoopExited(Exception):
    """A background loop raised what would end the process at once; that is the cause."""


class Failure:
    """Set at most once. From then on the process is unready, and ``serve`` ends it."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._is_set = asyncio.Event()

    def set(self, reason: str, cause: BaseException | None = None) -> None:
        """Notes why the process must end; the traceback of the ``cause`` is logged. On the event
        loop's thread."""
        if self.reason is None:
            self.reason = reason
            get_logger("runtime").error("process failed", error=reason, exc_info=cause)
            self._is_set.set()

    def check(self) -> None:
        """Raises ProcessFailed if there is a reason."""
        if self.reason is not None:
            raise ProcessFailed(self.reason)

    async def wait(self) -> None:
        """Returns when there is a reason."""
        await self._is_set.wait()

    @asynccontextmanager
    async def watching(self, loops: Mapping[str, Loop]) -> AsyncIterator[None]:
        """Runs background loops, by their names, while the block runs; then cancels them.

        One that ends before the block, however it does (it returns, raises, or is cancelled), sets
        the reason: the process must not go on without it.
        """
        tasks = [asyncio.create_task(_contained(loop), name=name) for name, loop in loops.items()]
        for task in tasks:
            task.add_done_callback(self._note_end)
        try:
            yield
        finally:
            for task in tasks:
                task.remove_done_callback(self._note_end)
                task.cancel()
            await asyncio.wait(tasks)
            for task, loop in zip(tasks, loops.values(), strict=True):
                # One whose task was cancelled before its first step has not been begun.
                loop.close()
                _log_error_at_stop(task)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        error = _error(task)
        how = "was cancelled" if task.cancelled() else f"ended: {error!r}"
        self.set(f"{task.get_name()} {how}", error)


async def _contained(loop: Loop) -> None:
    try:
        await loop
    except (SystemExit, KeyboardInterrupt) as error:
        # A task that raises these ends asyncio's loop in mid-turn, with an exit status of its own.
        raise LoopExited(repr(error)) from error


def _error(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _log_error_at_stop(task: asyncio.Task[None]) -> None:
    error = _error(task)
    if error is not None:
        get_logger("runtime").error("ended badly", loop=task.get_name(), error=repr(error))
