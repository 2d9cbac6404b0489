"""One spool on the disk: its directory, database, files and levels, for one worker thread."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contracts.problems import Problem
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.submissions import Submission
from gateway.spool import rows as spool_rows
from gateway.spool.directory import FILES, Room, list_set_aside, lock, make_directory
from gateway.spool.errors import (
    SpoolError,
    SpoolFailed,
    SpoolFull,
    errors_of_storage,
    is_full,
)
from gateway.spool.files import SpooledFile, SpoolFiles
from gateway.spool.opening import open_database
from gateway.spool.rows import (
    AlreadySpooled,
    DeletedRow,
    KeptRow,
    Levels,
    NewRow,
    Table,
    WaitingRow,
)

_ROW_BYTES = 4096
# Of the room, beyond which what was rejected is warned of.
_REJECTED_SHARE = 10
_DAMAGED = "It cannot be read from the spool any more."

_log = get_logger("gateway")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spooled:
    """A submission that waits for the backend; ``sequence`` orders by arrival."""

    sequence: int
    submission: Submission
    lease_id: str | None
    files: tuple[SpooledFile, ...]


class SpoolDisk:
    """Every method blocks and raises SpoolFull or SpoolFailed, if nothing else is said.

    All belongs to the thread that made the object, but for ``keep_files`` and ``remove_files``, and
    for reading ``levels``, ``has_room`` and ``is_failed``.
    """

    def __init__(self, directory: Path, bytes_max: int, free_bytes_min: int, clock: Clock) -> None:
        """Takes the directory. Raises SpoolLocked, too."""
        self._directory = directory
        self._bytes_max = bytes_max
        self._clock = clock
        self._files = SpoolFiles(directory / FILES)
        self.is_failed = False
        self.has_room = False
        with self._watched():
            make_directory(directory)
            self._lock = lock(directory)
            try:
                self._room = Room(directory, free_bytes_min)
                self._database = self._with_reserve(lambda: open_database(directory, clock))
                self._read_state()
            except BaseException:
                os.close(self._lock)
                raise
        self.look()

    def keep_files(self, submission_id: str, contents: Sequence[Path | bytes], size: int) -> None:
        """Takes staged files over, durably; ``size`` is in bytes. If it raises, none is kept."""
        with self._watched():
            self._room.check(size)
            self._files.keep(submission_id, contents)

    def remove_files(self, submission_id: str) -> None:
        """Removes the files of a submission that is not spooled."""
        self._files.remove(submission_id)

    def put(self, rows: Sequence[NewRow]) -> list[AlreadySpooled | SpoolFull | None]:
        """Adds rows in one commit; for each what its key is bound to, or that it has no room."""
        with self._watched():
            # Once for the log, once for the file.
            self._room.check(2 * sum(len(row.document) for row in rows))
            size = sum(len(row.document) + _ROW_BYTES for row in rows)
            results, added = self._database.write(lambda: self._insert(rows), size)
            self._last_sequence += len(added)
            self._change_levels(len(added), sum(row.size for row in added))
        self.look()
        return results

    def oldest(self, count_max: int, bytes_max: int, after: int) -> list[Spooled]:
        """What has waited longest behind that sequence, of at most ``bytes_max`` bytes without
        files, but at least one; rows that are damaged are rejected."""
        with self._watched():
            while True:
                spooled, damaged = self._read_oldest(count_max, bytes_max, after)
                for sequence in damaged:
                    _log.error("spooled submission damaged", sequence=sequence)
                    self._reject(sequence, Problem.INTERNAL.slug, _DAMAGED)
                if spooled or not damaged:
                    return spooled

    def settle(self, sequences: Sequence[int]) -> None:
        """Deletes rows and their files."""
        with self._watched():
            deleted = self._delete(sequences, "spool")
            self._change_levels(-len(deleted), -sum(row.size for row in deleted))
        self.look()

    def reject(self, sequence: int, problem: str, detail: str) -> None:
        """Moves a row to the rejected ones; its files stay."""
        with self._watched():
            self._reject(sequence, problem, detail)
        self.look()

    def put_back(self, sequence: int) -> str | None:
        """Moves a rejected row back to its place in the queue; or why it stays where it is."""
        with self._watched():
            row = spool_rows.next_row(self._connection, "rejected", sequence)
            if row is None or row.sequence != sequence:
                return "it is not there any more"
            if self._whole(row) is None:
                return "it, or a file of it, cannot be read any more"
            # What waits takes as much room as what is rejected.
            size = row.size + _ROW_BYTES
            earlier = self._with_reserve(
                lambda: self._database.write(
                    lambda: spool_rows.move_to_waiting(self._connection, row), size
                )
            )
            if earlier is not None:
                return f"its idempotency key is bound to {earlier.submission_id}"
            self._change_levels(1, row.size, -1, -row.size)
        return None

    def discard(self, sequences: Sequence[int]) -> None:
        """Deletes rejected rows and their files."""
        with self._watched():
            deleted = self._delete(sequences, "rejected")
            self._change_levels(0, 0, -len(deleted), -sum(row.size for row in deleted))
        self.look()

    def find(self, form_id: str, key: str) -> AlreadySpooled | None:
        """The waiting submission that the key is bound to."""
        with self._watched():
            return spool_rows.find(self._connection, form_id, key)

    def units_by_lease(self) -> dict[str, int]:
        """How many waiting submissions each lease covers."""
        with self._watched():
            return spool_rows.units_by_lease(self._connection)

    def look(self) -> None:
        """Brings ``has_room`` up to date, and the log into the file. What fails shows in the flags:
        nothing that was committed is undone by it.

        The last hundredth is no room: what is told to come is to find some.
        """
        try:
            with self._watched():
                self._database.tidy()
                self._room.check(0)
                self.has_room = self._bytes_left > self._bytes_max // 100
        except SpoolError:
            self.has_room = False

    def close(self) -> None:
        """Closes everything and gives the directory back; raises nothing of the storage."""
        try:
            with errors_of_storage():
                self._database.close()
        except SpoolError as error:
            # What is in the log is as durable as before.
            _log.warning("spool not tidied", error=str(error))
            self.is_failed |= isinstance(error, SpoolFailed) and error.is_final
        finally:
            os.close(self._lock)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._database.connection

    @property
    def _bytes_left(self) -> int:
        return self._bytes_max - self.levels.bytes - self.levels.rejected_bytes

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Raises the spool's errors, and remembers the one after which nothing may be trusted."""
        if self.is_failed:
            raise SpoolFailed("the spool's storage has failed", is_final=True)
        try:
            with errors_of_storage():
                yield
        except SpoolFailed as error:
            _log.error("spool failed", error=str(error), is_final=error.is_final)
            if error.is_final:
                self.is_failed = True
                self.has_room = False
            raise

    def _with_reserve(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns; on a full disk it may use the reserve."""
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_full(error):
                raise
        self._room.use_reserve()
        return work()

    def _read_state(self) -> None:
        self.levels = spool_rows.read_levels(self._connection)
        self._last_sequence = spool_rows.last_sequence(self._connection)
        self._files.remove_orphans(spool_rows.ids_with_files(self._connection))
        self.set_aside = list_set_aside(self._directory)

    def _insert(
        self, rows: Sequence[NewRow]
    ) -> tuple[list[AlreadySpooled | SpoolFull | None], list[NewRow]]:
        results: list[AlreadySpooled | SpoolFull | None] = []
        added: list[NewRow] = []
        bytes_left = self._bytes_left
        for row in rows:
            if row.size > bytes_left:
                results.append(SpoolFull("the spool is full"))
                continue
            sequence = self._last_sequence + len(added) + 1
            earlier = spool_rows.insert(self._connection, sequence, row)
            results.append(earlier)
            if earlier is None:
                added.append(row)
                bytes_left -= row.size
        return results, added

    def _read_oldest(
        self, count_max: int, bytes_max: int, after: int
    ) -> tuple[list[Spooled], list[int]]:
        spooled: list[Spooled] = []
        damaged = []
        size = 0
        with closing(spool_rows.waiting(self._connection, count_max, after)) as rows:
            for row in rows:
                size += row.document_bytes
                if spooled and size > bytes_max:
                    break
                whole = self._whole(row)
                if whole is None:
                    damaged.append(row.sequence)
                else:
                    spooled.append(whole)
        return spooled, damaged

    def _delete(self, sequences: Sequence[int], table: Table) -> list[DeletedRow]:
        deleted = self._with_reserve(
            lambda: self._database.write(
                lambda: spool_rows.delete(self._connection, sequences, table),
                _ROW_BYTES * len(sequences),
            )
        )
        for row in deleted:
            if row.has_files:
                self._files.remove(row.submission_id)
        return deleted

    def _whole(self, row: WaitingRow | KeptRow) -> Spooled | None:
        if row.submission is None:
            return None
        try:
            files = self._files.find(row.submission)
        except FileNotFoundError:
            return None
        return Spooled(row.sequence, row.submission, row.lease_id, files)

    def _reject(self, sequence: int, problem: str, detail: str) -> None:
        def move() -> int | None:
            return spool_rows.move_to_rejected(
                self._connection, sequence, self._clock.now_ms(), problem, detail
            )

        size = self._with_reserve(lambda: self._database.write(move, 2 * _ROW_BYTES))
        if size is not None:
            self._change_levels(-1, -size, 1, size)
            if self.levels.rejected_bytes > self._bytes_max // _REJECTED_SHARE:
                _log.warning(
                    "rejected submissions take room of the spool: formflow spool",
                    rejected=self.levels.rejected_count,
                    bytes=self.levels.rejected_bytes,
                )

    def _change_levels(
        self, count: int, size: int, rejected_count: int = 0, rejected_size: int = 0
    ) -> None:
        levels = self.levels
        self.levels = Levels(
            levels.count + count,
            levels.bytes + size,
            levels.rejected_count + rejected_count,
            levels.rejected_bytes + rejected_size,
            spool_rows.oldest_received_at(self._connection),
        )
