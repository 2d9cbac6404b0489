"""Child processes that are restarted when they die, and end when their supervisor does."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

from contracts.runtime.settings import StartError
from contracts.runtime.telemetry import get_logger

_RESTART_SECONDS = 0.1
_RESTART_SECONDS_MAX = 5.0
_HEALTHY_SECONDS = 30.0
# All ranks together; what stops us kills after 30 seconds as a rule.
_STOP_SECONDS = 28.0
_RANK_SECONDS = 5.0

Result = TypeVar("Result")


class ChildFailed(StartError):
    """A child ended before it served; what it said is on stderr. The message is one line."""


class Child:
    """One process. Its stdin is a pipe from here: at its end, however the supervisor dies, the
    child stops by itself. Its stdout is a pipe to here: a line says that it serves. It runs in a
    session of its own, so that Ctrl-C reaches the supervisor alone, which stops its children in
    order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._descriptors = descriptors
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_stopping = asyncio.Event()
        self._is_decided = asyncio.Event()
        self._has_served = False
        self._ending = ""
        self._log = get_logger("formflow")

    def start(self) -> None:
        """Starts the process, and again whenever it dies once it has served."""
        self._running = asyncio.create_task(self._run())

    async def served(self) -> None:
        """Returns when the process serves. Raises ChildFailed if it ends before."""
        await self._is_decided.wait()
        if not self._has_served:
            raise ChildFailed(f"the {self.name} did not start ({self._ending})")

    async def stop(self, seconds: float) -> None:
        """Ends the process in good order, or by force when it takes longer."""
        self._is_stopping.set()
        self._signal(signal.SIGTERM)
        if self._running is None or (await asyncio.wait([self._running], timeout=seconds))[0]:
            return
        self._log.error("child does not stop, killing it", child=self.name)
        self._signal(signal.SIGKILL)
        await asyncio.wait([self._running])

    def kill(self) -> None:
        """Ends the process at once, for good."""
        self._is_stopping.set()
        self._signal(signal.SIGKILL)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _RESTART_SECONDS
        while True:
            started = loop.time()
            self._ending = await self._run_once()
            if self._is_stopping.is_set() or not self._has_served:
                self._is_decided.set()
                return
            if loop.time() - started >= _HEALTHY_SECONDS:
                pause = _RESTART_SECONDS
            self._log.error(
                "child died, restarting", child=self.name, ended=self._ending, pause_seconds=pause
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_stopping.wait(), pause)
            pause = min(pause * 2, _RESTART_SECONDS_MAX)

    async def _run_once(self) -> str:
        """Returns how the process ended, or why there was none."""
        try:
            process = self._process = await self._spawn()
        except OSError as error:
            return str(error)
        if self._is_stopping.is_set():
            self._signal(signal.SIGTERM)
        if process.stdout is not None and await process.stdout.readline():
            self._has_served = True
            self._is_decided.set()
        status = await process.wait()
        return f"signal {-status}" if status < 0 else f"exit {status}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=self._descriptors,
            start_new_session=True,
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


class Supervisor:
    """Starts all children at once and stops them rank by rank, the last rank first."""

    def __init__(self, *ranks: Sequence[Child]) -> None:
        self._ranks = ranks

    async def __aenter__(self) -> "Supervisor":
        for rank in self._ranks:
            for child in rank:
                child.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Stops every child, by force where it must: all of it takes 28 s at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_SECONDS
        for ranks_left, rank in reversed(list(enumerate(self._ranks))):
            seconds = deadline - loop.time() - ranks_left * _RANK_SECONDS
            await asyncio.gather(*(child.stop(seconds) for child in rank))

    def kill(self) -> None:
        """Ends every child at once."""
        for rank in self._ranks:
            for child in rank:
                child.kill()


def stop_signal(on_second: Callable[[], None]) -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; every further one calls ``on_second``."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            on_second()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    return stop


async def unless_stopped(stop: asyncio.Event, work: Awaitable[Result]) -> Result | None:
    """The result of ``work``, or None if ``stop`` is set first."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        return working.result()
    working.cancel()
    return None
