"""The rows of the spool: what is waiting for the backend, and what the backend refused.

Functions of one connection; whoever calls them makes the transaction.
"""

import sqlite3
import zlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from contracts.internal import UndecodableMessage, decode_batch, encode_batch
from contracts.submissions import Submission

# Those that wait, and those that were refused; a sequence is in one of them.
Table: TypeAlias = Literal["spool", "rejected"]

_FIND = "SELECT id, cast(size AS INTEGER), file_count > 0 FROM {} WHERE sequence = ?"
_DELETE = "DELETE FROM {} WHERE sequence = ?"
_NEXT = (
    "SELECT sequence, cast(id AS TEXT), cast(form_id AS TEXT), lease_id, "
    "cast(received_at AS INTEGER), cast(size AS INTEGER), checksum, document, {} FROM {} "
    "WHERE sequence >= ? ORDER BY sequence LIMIT 1"
)
_REFUSAL = "cast(rejected_at AS INTEGER), cast(problem AS TEXT), cast(detail AS TEXT)"
_LAST = "SELECT coalesce(max(sequence), 0) FROM {}"


@dataclass(frozen=True, slots=True)
class AlreadySpooled:
    """The submission that an idempotency key is bound to here; ``received_at`` is Unix ms."""

    submission_id: str
    received_at: int
    fingerprint: str | None


@dataclass(frozen=True, slots=True)
class NewRow:
    """A submission, encoded; ``size`` is in bytes, with its files."""

    submission: Submission
    lease_id: str | None
    document: bytes
    size: int


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A row that waits for the backend; ``submission`` is None if it cannot be read any more."""

    sequence: int
    lease_id: str | None
    submission: Submission | None
    document_bytes: int


@dataclass(frozen=True, slots=True)
class DeletedRow:
    """What a row was; ``size`` is in bytes."""

    submission_id: str
    size: int
    has_files: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a submission was not to be delivered, and when that was known, Unix milliseconds."""

    rejected_at: int
    problem: str
    detail: str


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A row of either table; ``refusal`` is None if it waits. ``received_at`` is Unix milliseconds,
    ``size`` in bytes, with its files. ``submission`` is None if it cannot be read any more."""

    sequence: int
    submission_id: str
    form_id: str
    lease_id: str | None
    received_at: int
    size: int
    submission: Submission | None
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Levels:
    """How much there is, in rows and in bytes with files; ``oldest_received_at`` is Unix ms."""

    count: int
    bytes: int
    rejected_count: int
    rejected_bytes: int
    oldest_received_at: int | None


def new_row(submission: Submission, lease_id: str | None) -> NewRow:
    """Raises TypeError for text that JSON cannot hold."""
    document = encode_batch([submission])
    size = len(document) + sum(file.size for file in submission.files)
    return NewRow(submission, lease_id, document, size)


def insert(connection: sqlite3.Connection, sequence: int, row: NewRow) -> AlreadySpooled | None:
    """Adds the row, unless its key is bound: then what it is bound to."""
    submission = row.submission
    cursor = connection.execute(
        "INSERT OR IGNORE INTO spool VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            sequence,
            row.size,
            len(submission.files),
            submission.received_at,
            submission.id,
            submission.form_id,
            submission.idempotency_key,
            submission.fingerprint,
            row.lease_id,
            _checksum(row.document, row.lease_id),
            row.document,
        ),
    )
    if cursor.rowcount == 1:
        return None
    key = submission.idempotency_key
    earlier = find(connection, submission.form_id, key) if key is not None else None
    if earlier is None:
        raise sqlite3.IntegrityError(f"spool: row {sequence} is taken")
    return earlier


def find(connection: sqlite3.Connection, form_id: str, key: str) -> AlreadySpooled | None:
    """What the key is bound to among the waiting submissions of the form."""
    found = connection.execute(
        "SELECT id, received_at, fingerprint FROM spool "
        "WHERE form_id = ? AND idempotency_key = ? AND idempotency_key IS NOT NULL",
        (form_id, key),
    ).fetchone()
    return AlreadySpooled(*found) if found is not None else None


def waiting(connection: sqlite3.Connection, count_max: int, after: int) -> Generator[WaitingRow]:
    """The rows behind the sequence ``after``, in order of arrival, read as they are taken."""
    cursor = connection.execute(
        "SELECT sequence, lease_id, checksum, document FROM spool WHERE sequence > ? "
        "ORDER BY sequence LIMIT ?",
        (after, count_max),
    )
    for sequence, lease_id, checksum, document in cursor:
        submission = _decode(document, lease_id, checksum)
        size = len(document) if submission is not None else 0
        yield WaitingRow(sequence, lease_id, submission, size)


def units_by_lease(connection: sqlite3.Connection) -> dict[str, int]:
    """How many waiting rows each lease covers."""
    rows = connection.execute(
        "SELECT lease_id, count(*) FROM spool WHERE lease_id IS NOT NULL GROUP BY lease_id"
    )
    return dict(rows.fetchall())


def delete(
    connection: sqlite3.Connection, sequences: Sequence[int], table: Table = "spool"
) -> list[DeletedRow]:
    """Removes those of the rows that are there."""
    deleted = []
    for sequence in sequences:
        found = connection.execute(_FIND.format(table), (sequence,)).fetchone()
        if found is not None:
            connection.execute(_DELETE.format(table), (sequence,))
            deleted.append(DeletedRow(*found))
    return deleted


def move_to_rejected(
    connection: sqlite3.Connection, sequence: int, now_ms: int, problem: str, detail: str
) -> int | None:
    """Moves the row; its size in bytes, or None if there is none."""
    found = connection.execute(
        "SELECT cast(size AS INTEGER) FROM spool WHERE sequence = ?", (sequence,)
    ).fetchone()
    if found is None:
        return None
    connection.execute(
        "INSERT INTO rejected SELECT sequence, size, file_count, received_at, ?, id, form_id, "
        "lease_id, ?, ?, checksum, document FROM spool WHERE sequence = ?",
        (now_ms, problem, detail, sequence),
    )
    connection.execute("DELETE FROM spool WHERE sequence = ?", (sequence,))
    return int(found[0])


def move_to_waiting(connection: sqlite3.Connection, row: KeptRow) -> AlreadySpooled | None:
    """Moves a rejected row back to its place in the order of arrival, unless its key is bound: then
    what it is bound to. Raises ValueError for a row that cannot be read any more."""
    if row.submission is None:
        raise ValueError(f"row {row.sequence} holds no submission")
    new = replace(new_row(row.submission, row.lease_id), size=row.size)
    earlier = insert(connection, row.sequence, new)
    if earlier is None:
        delete(connection, [row.sequence], "rejected")
    return earlier


def next_row(connection: sqlite3.Connection, table: Table, sequence: int) -> KeptRow | None:
    """The first row of that sequence or a later one."""
    refusal = _REFUSAL if table == "rejected" else "NULL"
    found = connection.execute(_NEXT.format(refusal, table), (sequence,)).fetchone()
    if found is None:
        return None
    number, submission_id, form_id, lease_id, received_at, size, checksum, document, *why = found
    return KeptRow(
        number,
        submission_id,
        form_id,
        lease_id,
        received_at,
        size,
        _decode(document, lease_id, checksum),
        Refusal(*why) if table == "rejected" else None,
    )


def highest_sequence(connection: sqlite3.Connection, table: Table) -> int:
    """The sequence of the last row, 0 without one."""
    [last] = connection.execute(_LAST.format(table)).fetchone()
    return int(last)


def read_levels(connection: sqlite3.Connection) -> Levels:
    """Counts everything."""
    sums = "SELECT count(*), total(cast(size AS INTEGER)) FROM "
    count, size = connection.execute(f"{sums} spool").fetchone()
    rejected_count, rejected_size = connection.execute(f"{sums} rejected").fetchone()
    return Levels(
        count, int(size), rejected_count, int(rejected_size), oldest_received_at(connection)
    )


def oldest_received_at(connection: sqlite3.Connection) -> int | None:
    """When the first waiting submission was received, Unix milliseconds."""
    found = connection.execute(
        "SELECT cast(received_at AS INTEGER) FROM spool ORDER BY sequence LIMIT 1"
    ).fetchone()
    return found and int(found[0])


def last_sequence(connection: sqlite3.Connection) -> int:
    """The highest sequence of any row, 0 without one."""
    return max(highest_sequence(connection, "spool"), highest_sequence(connection, "rejected"))


def ids_with_files(connection: sqlite3.Connection) -> set[str]:
    """The submissions that have files, waiting or rejected."""
    rows = connection.execute(
        "SELECT id FROM spool WHERE file_count > 0 "
        "UNION ALL SELECT id FROM rejected WHERE file_count > 0"
    )
    return {submission_id for [submission_id] in rows}


def _checksum(document: bytes, lease_id: str | None) -> int:
    return zlib.crc32(document, zlib.crc32((lease_id or "").encode()))


def _decode(document: Any, lease_id: Any, checksum: Any) -> Submission | None:
    """None for what is not what was put in: SQLite does not notice a changed byte in a row."""
    try:
        if _checksum(document, lease_id) != checksum:
            return None
        [submission] = decode_batch(document)
    except (UndecodableMessage, AttributeError, TypeError, ValueError):
        return None
    return submission
