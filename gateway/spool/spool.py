"""The gateway's durable spool: where accepted submissions wait while the backend is away.

Guarantees:
- When ``put`` returns, the submission and its files are on the disk, fsynced; they survive kill -9,
  and power loss where the disk honours fsync, until ``settle``; what is rejected, until an operator
  discards it.
- First in, first out, by arrival here. An idempotency key is bound to one waiting submission.
- A ``put`` that raises is not acknowledged; nothing of it stays, but for a commit whose fsync
  failed: the next start may find it. It is then delivered like a post whose answer was lost.
- One process works with a directory; the levels are exact after any crash.

What may go wrong:
- No room, by ``bytes_max`` or on the disk: SpoolFull, until there is room again. A reserve lets
  ``settle`` and ``reject`` work on a full disk.
- An I/O error or a failed fsync: SpoolFailed, ``is_failed`` stays, nothing more is acknowledged and
  the process is to end. A database locked by somebody else is SpoolFailed, too, but passes.
- A database that is damaged or of another version is set aside at the start, never deleted, and an
  empty spool begins; so is a copy of a log that has lost commits. A damaged row is rejected.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias, TypeVar, TypeVarTuple

from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings
from contracts.submissions import Submission
from gateway.batching import Batcher, QueueFull
from gateway.spool.disk import SpoolDisk, Spooled
from gateway.spool.errors import SpoolError, SpoolFailed, SpoolFull, SpoolLocked
from gateway.spool.files import SpooledFile
from gateway.spool.rows import AlreadySpooled, NewRow, new_row

__all__ = [
    "AlreadySpooled",
    "Spool",
    "SpoolError",
    "SpoolFailed",
    "SpoolFull",
    "SpoolLocked",
    "Spooled",
    "SpooledFile",
]

_COMMIT_ROWS_MAX = 256
_LOOK_SECONDS = 1.0

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")

# A staged file, or what was staged in memory.
Content: TypeAlias = Path | bytes


class Spool:
    """One directory's spool; every call but the properties may raise SpoolFull and SpoolFailed."""

    def __init__(self, worker: ThreadPoolExecutor, disk: SpoolDisk, clock: Clock) -> None:
        """Made by ``open``; ``disk`` belongs to the ``worker``'s one thread."""
        self._worker = worker
        self._disk = disk
        self._clock = clock
        self._is_closed = False
        self._look_at = float("-inf")
        self._keeping: set[asyncio.Task[AlreadySpooled | None]] = set()
        self._batcher: Batcher[NewRow, AlreadySpooled | SpoolFull | None] = Batcher(
            self._commit, items_max=_COMMIT_ROWS_MAX, senders=1
        )

    @classmethod
    async def open(
        cls, directory: Path, *, bytes_max: int, free_bytes_min: int, clock: Clock
    ) -> "Spool":
        """Takes the directory, of this process alone, and reads what is in it.

        ``bytes_max`` bounds the submissions with their files, rejected ones included;
        ``free_bytes_min`` is what stays free on the disk.

        Raises:
            SpoolLocked: another process has it.
        """
        worker = ThreadPoolExecutor(1, "spool")
        try:
            disk = await asyncio.get_running_loop().run_in_executor(
                worker, SpoolDisk, directory, bytes_max, free_bytes_min, clock
            )
        except BaseException:
            worker.shutdown(wait=False)
            raise
        return cls(worker, disk, clock)

    @classmethod
    async def open_with(cls, settings: Settings, directory: Path, clock: Clock) -> "Spool":
        """``open`` within the bounds of a gateway's settings."""
        return await cls.open(
            directory,
            bytes_max=settings.spool_bytes_max,
            free_bytes_min=settings.spool_free_bytes_min,
            clock=clock,
        )

    async def put(
        self, submission: Submission, lease_id: str | None, files: Sequence[Content] = ()
    ) -> AlreadySpooled | None:
        """Returns when the submission is durable; or what its key is bound to, and keeps nothing.

        ``files`` are the contents of ``submission.files`` in their order: staged files, which are
        moved away, or bytes. A caller that is cancelled does not stop what has begun.
        """
        if len(files) != len(submission.files):
            raise ValueError(f"{len(files)} contents for {len(submission.files)} files")
        if self._is_closed:
            raise SpoolFailed("the spool is closed")
        row = new_row(submission, lease_id)
        if not files:
            return await self._put_row(row)
        task = asyncio.create_task(self._put_with_files(row, files))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)
        return await asyncio.shield(task)

    async def oldest(self, count_max: int, bytes_max: int, after: int = 0) -> list[Spooled]:
        """The submissions that have waited longest, in order of arrival; they stay. Only those
        behind the sequence ``after``.

        At most ``count_max``, and ``bytes_max`` bytes without their files, but at least one.
        Damaged ones are rejected on the way.
        """
        return await self._run(self._disk.oldest, count_max, bytes_max, after)

    async def settle(self, done: Sequence[int]) -> None:
        """Deletes what the backend has taken over, with its files, by sequence."""
        await self._run(self._disk.settle, done)

    async def reject(self, sequence: int, problem: str, detail: str) -> None:
        """Takes a submission that the backend refuses out of the way, and keeps it."""
        await self._run(self._disk.reject, sequence, problem, detail)

    async def find(self, form_id: str, idempotency_key: str) -> AlreadySpooled | None:
        """The waiting submission that a form's key is bound to, or None."""
        return await self._run(self._disk.find, form_id, idempotency_key)

    async def units_by_lease(self) -> dict[str, int]:
        """How many waiting submissions each lease covers."""
        return await self._run(self._disk.units_by_lease)

    async def close(self) -> None:
        """Ends what is under way, closes the files and gives the directory back."""
        if self._is_closed:
            return
        self._is_closed = True
        while self._keeping:
            await asyncio.wait(self._keeping)
        await self._batcher.drained()
        try:
            await self._run(self._disk.close)
        finally:
            self._worker.shutdown()

    @property
    def has_room(self) -> bool:
        """Whether there was room when last looked; each question has it looked at anew, in the
        worker, at most once a second."""
        if self._is_closed:
            return False
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._worker.submit(self._disk.look)
        return self._disk.has_room

    @property
    def is_failed(self) -> bool:
        """Whether the storage has failed for good."""
        return self._disk.is_failed

    @property
    def count(self) -> int:
        """Submissions that wait."""
        return self._disk.levels.count

    @property
    def bytes(self) -> int:
        """Their size with their files."""
        return self._disk.levels.bytes

    @property
    def rejected_count(self) -> int:
        """Submissions that were rejected."""
        return self._disk.levels.rejected_count

    @property
    def rejected_bytes(self) -> int:
        """Their size with their files; it counts as the others' does."""
        return self._disk.levels.rejected_bytes

    @property
    def oldest_age_seconds(self) -> float:
        """How long ago the one that has waited longest was received; 0 if none waits."""
        received_at = self._disk.levels.oldest_received_at
        return max(0, self._clock.now_ms() - received_at) / 1000 if received_at else 0.0

    @property
    def set_aside(self) -> tuple[Path, ...]:
        """What has been set aside in the directory, up to the start."""
        return self._disk.set_aside

    async def _put_row(self, row: NewRow) -> AlreadySpooled | None:
        try:
            result = await self._batcher.submit(row)
        except QueueFull:
            raise SpoolFull("too many submissions wait for the spool's disk") from None
        if isinstance(result, SpoolFull):
            raise result
        return result

    async def _put_with_files(self, row: NewRow, files: Sequence[Content]) -> AlreadySpooled | None:
        submission_id = row.submission.id
        size = row.size - len(row.document)
        await asyncio.to_thread(self._disk.keep_files, submission_id, files, size)
        try:
            earlier = await self._put_row(row)
        except SpoolError:
            # After a failed fsync the row may be there: its files are left to the next start.
            if not self.is_failed:
                await asyncio.to_thread(self._disk.remove_files, submission_id)
            raise
        if earlier is not None:
            await asyncio.to_thread(self._disk.remove_files, submission_id)
        return earlier

    async def _commit(self, rows: Sequence[NewRow]) -> Sequence[AlreadySpooled | SpoolFull | None]:
        return await self._run(self._disk.put, rows)

    async def _run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)
