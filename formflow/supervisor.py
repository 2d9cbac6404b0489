"""Child processes that are restarted when they die, and end when their supervisor does."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from types import TracebackType

from contracts.runtime.telemetry import get_logger

_RESTART_SECONDS = 0.1
_RESTART_SECONDS_MAX = 5.0
_HEALTHY_SECONDS = 10.0
_STOP_SECONDS = 28.0


class ChildFailed(Exception):
    """A child ended before it was ready; what it said is on stderr. The message is one line."""


class Child:
    """One process. Its stdin is a pipe from here: at its end, however the supervisor dies, the
    child stops by itself. It runs in a session of its own, so that Ctrl-C reaches the supervisor
    alone, which stops its children in order."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.is_ready = False
        self._command = command
        self._environment = environment
        self._descriptors = descriptors
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False
        self._log = get_logger("formflow")

    async def run(self) -> None:
        """Starts the process, and again whenever it dies; returns when it is to stop."""
        loop = asyncio.get_running_loop()
        pause = _RESTART_SECONDS
        while not self._is_stopping:
            started = loop.time()
            self._process = await self._spawn()
            status = await self._process.wait()
            if self._is_stopping or not self.is_ready:
                return
            if loop.time() - started > _HEALTHY_SECONDS:
                pause = _RESTART_SECONDS
            self._log.error("child died, restarting", child=self.name, ended=_ending(status))
            await asyncio.sleep(pause)
            pause = min(pause * 2, _RESTART_SECONDS_MAX)

    def check_started(self) -> None:
        """Raises ChildFailed if the process has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise ChildFailed(
                f"the {self.name} did not start ({_ending(self._process.returncode)})"
            )

    async def stop(self) -> None:
        """Ends the process in good order, or by force when it takes too long."""
        self._is_stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._log.error("child does not stop, killing it", child=self.name)
            process.kill()
            await process.wait()

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            pass_fds=self._descriptors,
            start_new_session=True,
        )


class Supervisor:
    """Runs children in the order given and stops them in reverse."""

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Supervisor":
        self._running = [asyncio.create_task(child.run()) for child in self._children]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def stop(self) -> None:
        """Stops every child, the last started first."""
        for child in reversed(self._children):
            await child.stop()


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit {status}"
