"""Changes the spools of stopped gateways: each with its lock held, durably, as a gateway would."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Error

from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import Settings
from formflow.client import CommandError
from gateway.spool.contents import files_of, read, read_set_aside
from gateway.spool.directory import databases_set_aside, list_set_aside
from gateway.spool.disk import SpoolDisk
from gateway.spool.errors import SpoolError, SpoolFull, SpoolLocked
from gateway.spool.rows import KeptRow, new_row


@dataclass(slots=True)
class Salvage:
    """What became of the rows of databases that were set aside; the others were there already."""

    salvaged: int = 0
    unreadable: int = 0


@contextmanager
def opened(settings: Settings, directories: Sequence[Path]) -> Iterator[list[SpoolDisk]]:
    """The spools of these directories, all of them held.

    Raises:
        CommandError: one is in use, and nothing was changed; or one could not be worked with.
    """
    try:
        with ExitStack() as stack:
            yield [
                stack.enter_context(
                    closing(
                        SpoolDisk(
                            directory,
                            settings.spool_bytes_max,
                            settings.spool_free_bytes_min,
                            SystemClock(),
                        )
                    )
                )
                for directory in directories
            ]
    except SpoolLocked as error:
        raise CommandError(f"{error}: stop its gateway first; nothing was changed") from None
    except (SpoolError, Error, OSError) as error:
        raise CommandError(f"the spool cannot be worked with: {error}") from None


def salvage(disk: SpoolDisk, directory: Path) -> Salvage:
    """Puts what can be read of databases that were set aside into the queue, unless it is there.

    The databases stay as they are. Sending again what was delivered before is harmless.
    Raises SpoolError, sqlite3.Error, OSError.
    """
    found = Salvage()
    known = {
        row.submission_id
        for table in ("spool", "rejected")
        for row in read(directory, table)
        if row is not None
    }
    for path, files in databases_set_aside(directory).items():
        for row in read_set_aside(path):
            if row is not None and row.submission_id in known:
                continue
            if row is None or not _adopt(disk, row, files):
                found.unreadable += 1
                continue
            known.add(row.submission_id)
            found.salvaged += 1
    return found


def remove_set_aside(directory: Path) -> None:
    """Deletes all that was set aside in a spool. Raises OSError."""
    for path in list_set_aside(directory):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _adopt(disk: SpoolDisk, row: KeptRow, files: Path) -> bool:
    """Whether the row could be read; it is in the queue then, or its key is bound there."""
    if row.submission is None:
        return False
    try:
        contents = [file.path.read_bytes() for file in files_of(row, files)]
    except FileNotFoundError:
        return False
    if contents:
        disk.keep_files(row.submission.id, contents, sum(map(len, contents)))
    [result] = disk.put([new_row(row.submission, row.lease_id)])
    if result is not None and contents:
        disk.remove_files(row.submission.id)
    if isinstance(result, SpoolFull):
        raise result
    return True
