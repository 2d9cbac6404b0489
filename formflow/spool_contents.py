"""Reads the spools of this machine's gateways, beside them, for people and for salvage."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from contracts.runtime.clock import iso
from contracts.runtime.settings import Settings
from contracts.submissions import Submission
from formflow.client import CommandError
from gateway.spool.contents import files_of, read, read_set_aside
from gateway.spool.directory import (
    DATABASE,
    FILES,
    databases_set_aside,
    numbered_spools,
    root_of,
)
from gateway.spool.rows import KeptRow
from gateway.spool.summary import inspect

_LINES = "submissions.jsonl"


def describe(settings: Settings) -> list[dict[str, Any]]:
    """What is in each spool, with its rejected submissions one by one. Raises CommandError."""
    return [_describe(number, path) for number, path in _spools(settings).items()]


def rejected_ids(settings: Settings) -> dict[Path, dict[int, str]]:
    """The rejected submissions of each spool, by sequence. Raises CommandError."""
    found = {}
    for path in _spools(settings).values():
        try:
            rows = [row for row in read(path, "rejected") if row is not None]
        except (sqlite3.Error, OSError) as error:
            raise CommandError(f"{path} cannot be read: {error}") from None
        found[path] = {row.sequence: row.submission_id for row in rows}
    return found


def spools_with_set_aside(settings: Settings) -> set[Path]:
    """The spools in which something was set aside."""
    return {path for path in _spools(settings).values() if inspect(path).set_aside}


def export_to(target: Path, settings: Settings, *, with_waiting: bool) -> dict[str, Any]:
    """Makes a directory of what was rejected or set aside; the counts of what is in it.

    Raises:
        CommandError: it cannot be made, or is there already.
    """
    try:
        target.mkdir(mode=0o700)
        with open(target / _LINES, "wb") as lines:
            writing = _Export(target, lines)
            for number, path in _spools(settings).items():
                writing.add_spool(number, path, with_waiting)
            lines.flush()
            os.fsync(lines.fileno())
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from None
    return writing.report


class _Export:
    """A directory under way: one line a submission, and its files under ``files/<id>/<n>``."""

    def __init__(self, target: Path, lines: BinaryIO) -> None:
        self._target = target
        self._lines = lines
        self.report: dict[str, Any] = {
            "submissions": 0,
            "files": 0,
            "unreadable": 0,
            "unopened": {},
        }

    def add_spool(self, number: int, directory: Path, with_waiting: bool) -> None:
        database, files = directory / DATABASE, directory / FILES
        if with_waiting:
            self._add(number, database, files, read(directory, "spool"))
        self._add(number, database, files, read(directory, "rejected"))
        for path, files_aside in databases_set_aside(directory).items():
            self._add(number, path, files_aside, read_set_aside(path))

    def _add(
        self, number: int, database: Path, files: Path, rows: Iterator[KeptRow | None]
    ) -> None:
        source = {"spool": number, "database": database.name}
        try:
            for row in rows:
                if row is None or row.submission is None:
                    self.report["unreadable"] += 1
                else:
                    copied = self._copy(row, row.submission, files)
                    line = source | _document(row, row.submission) | {"files": copied}
                    self._lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
                    self.report["submissions"] += 1
        except sqlite3.Error as error:
            self.report["unopened"][str(database)] = str(error)

    def _copy(self, row: KeptRow, submission: Submission, files: Path) -> list[dict[str, Any]]:
        """What the line says of the files; ``path`` is null for those that are not there whole."""
        try:
            paths = [file.path for file in files_of(row, files)]
        except FileNotFoundError:
            self.report["unreadable"] += 1
            paths = []
        described = []
        for index, stored in enumerate(submission.files):
            copy = Path(FILES, submission.id, str(index)) if paths else None
            if copy is not None:
                (self._target / copy).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                shutil.copyfile(paths[index], self._target / copy)
                self.report["files"] += 1
            described.append(
                {
                    "id": stored.id,
                    "field": stored.field,
                    "name": stored.name,
                    "content_type": stored.content_type,
                    "size": stored.size,
                    "sha256": stored.sha256,
                    "path": str(copy) if copy is not None else None,
                }
            )
        return described


def _spools(settings: Settings) -> dict[int, Path]:
    return numbered_spools(root_of(settings))


def _describe(number: int, path: Path) -> dict[str, Any]:
    try:
        summary = inspect(path)
        rejected = [row for row in read(path, "rejected") if row is not None]
        problem = summary.problem
    except sqlite3.Error as error:
        rejected, problem = [], str(error)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from None
    return {
        "spool": number,
        "directory": str(path),
        "is_in_use": summary.is_in_use,
        "waiting": summary.count,
        "waiting_bytes": summary.bytes,
        "oldest_received_at": _moment(summary.oldest_received_at),
        "rejected_bytes": summary.rejected_bytes,
        "rejected": [
            {"id": row.submission_id, "form_id": row.form_id, "bytes": row.size} | _reasons(row)
            for row in rejected
        ],
        "set_aside": [each.name for each in summary.set_aside],
        "problem": problem,
    }


def _document(row: KeptRow, submission: Submission) -> dict[str, Any]:
    return {
        "id": submission.id,
        "form_id": submission.form_id,
        "status": submission.status,
        "payload": orjson.Fragment(submission.payload),
        "meta": orjson.Fragment(submission.meta),
        "trace": orjson.Fragment(submission.trace),
        "idempotency_key": submission.idempotency_key,
        "key_id": submission.key_id,
        "lease_id": row.lease_id,
    } | _reasons(row)


def _reasons(row: KeptRow) -> dict[str, Any]:
    refusal = row.refusal
    return {
        "received_at": _moment(row.received_at),
        "rejected_at": _moment(refusal.rejected_at) if refusal else None,
        "why": refusal.problem if refusal else None,
        "detail": refusal.detail if refusal else None,
    }


def _moment(at_ms: int | None) -> str | None:
    """None also for what is no time any more: a row may be damaged."""
    try:
        return iso(at_ms) if at_ms is not None else None
    except (TypeError, ValueError, OverflowError, OSError):
        return None
