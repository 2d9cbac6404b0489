"""Writes an account to an archive, through the management API."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import IO, Any, BinaryIO

import orjson

from backend.backups.archive import ArchiveWriter, new_private_file, written
from contracts import VERSION
from contracts.runtime.clock import Clock, iso
from formflow.account_archive import FILES, FORMAT, LINES, WITHOUT
from formflow.client import Client, CommandError, Refused
from formflow.output import progress_bar

_IN_MEMORY_BYTES = 8 * 1024 * 1024


async def export_account(client: Client, output: Path, clock: Clock) -> str:
    """Makes the archive ``output``, in the place of one that is there; a sentence on what it holds.

    The lines are written first, to a file beside it, and then the files that they name. A file
    that is deleted meanwhile is left out, and counted.

    Raises:
        CommandError: there is no archive then, or the one that was there.
    """
    with (
        _writable(output),
        _directory_beside(output) as work,
    ):
        lines = Path(work) / LINES
        with new_private_file(lines) as file:
            counts = await _write_lines(client, file, clock)
        with written(output) as writer:
            writer.add_path(LINES, lines)
            missing = await _add_files(client, writer, lines)
    sentence = (
        f"{counts['form']} forms, {counts['submission']} submissions, "
        f"{counts['file'] - missing} files. Not in it: {', '.join(WITHOUT)}."
    )
    return f"{sentence} {missing} files were gone." if missing else sentence


async def _write_lines(client: Client, file: BinaryIO, clock: Clock) -> dict[str, int]:
    """Writes what there is but for the bytes of files; how many of each."""
    account = await client.call("GET", "/v1/account")
    environments = await client.all("/v1/environments")
    environments.sort(key=lambda environment: (environment["created_at"], environment["name"]))
    # Lists begin with the newest: what is created again in this order has the same one.
    forms = (await client.all("/v1/forms"))[::-1]
    webhooks = (await client.all("/v1/webhooks"))[::-1]
    for form in forms:
        form["webhooks"] = [_moved(each) for each in webhooks if each["form_id"] == form["id"]]
    header = {
        "format": FORMAT,
        "version": VERSION,
        "account": account["name"],
        "exported_at": iso(clock.now_ms()),
        "without": WITHOUT,
    }
    file.write(_line("header", header))
    file.writelines(_line("environment", environment) for environment in environments)
    file.writelines(_line("form", form) for form in forms)
    counts = {"form": len(forms), "submission": 0, "file": 0}
    with progress_bar(is_counted=False) as bar:
        task = bar.add_task("submissions", total=None)
        for form in forms:
            async for submission in _submissions(client, form["id"]):
                bar.advance(task, file.write(_line("submission", submission)))
                counts["submission"] += 1
                counts["file"] += len(submission["files"])
    return counts


def _line(type: str, document: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": type} | document, option=orjson.OPT_APPEND_NEWLINE)


def _moved(webhook: dict[str, Any]) -> dict[str, Any]:
    """What of a webhook can be made again: of its own headers that is the names."""
    kept = {name: webhook[name] for name in ("url", "format", "events", "enabled")}
    return kept | {"headers": sorted(webhook["headers"])}


async def _submissions(client: Client, form_id: str) -> AsyncIterator[dict[str, Any]]:
    """The submissions of a form, oldest first, without their deliveries, which are of this
    installation, and their files without the links, which are keys to them for a while."""
    chunks = client.chunks(f"/v1/forms/{form_id}/submissions.json")
    async for line in _split(chunks):
        # An array that has an item a line.
        text = line.strip().removeprefix(b"[").removesuffix(b"]").removesuffix(b",")
        if text:
            submission = orjson.loads(text)
            submission.pop("deliveries", None)
            submission["trace"].pop("deliveries", None)
            for file in submission["files"]:
                del file["url"]
            yield submission


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The lines of what comes in chunks."""
    rest: list[bytes] = []
    async for chunk in chunks:
        *lines, last = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*rest, line])
            rest.clear()
        rest.append(last)
    yield b"".join(rest)


async def _add_files(client: Client, writer: ArchiveWriter, lines: Path) -> int:
    """Adds the files that the lines name; how many were gone."""
    total = sum(record["size"] for _, record in _records(lines))
    missing = 0
    with progress_bar(is_counted=True) as bar:
        task = bar.add_task("files", total=total)
        for submission_id, record in _records(lines):
            with SpooledTemporaryFile(_IN_MEMORY_BYTES) as content:
                if await _fetch(client, submission_id, record, content):
                    content.seek(0)
                    writer.add(FILES + record["id"], content, record["size"])
                else:
                    missing += 1
            bar.advance(task, record["size"])
    return missing


def _records(lines: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The files of the submissions, each with the submission's id."""
    with lines.open("rb") as file:
        for line in file:
            document = orjson.loads(line)
            for record in document.get("files", ()) if document["type"] == "submission" else ():
                yield document["id"], record


async def _fetch(
    client: Client, submission_id: str, record: dict[str, Any], content: IO[bytes]
) -> bool:
    """Whether the file is there; it is then in ``content``."""
    digest = hashlib.sha256()
    try:
        async for chunk in client.chunks(f"/v1/submissions/{submission_id}/files/{record['id']}"):
            digest.update(chunk)
            content.write(chunk)
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    if content.tell() != record["size"] or digest.hexdigest() != record["sha256"]:
        raise CommandError(
            f"the file {record['id']} is not what was uploaded: the store is damaged"
        )
    return True


def _directory_beside(output: Path) -> "TemporaryDirectory[str]":
    """A directory of its owner only, with room for what goes into ``output``."""
    return TemporaryDirectory(prefix=".formflow-export-", dir=output.absolute().parent)


@contextmanager
def _writable(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = error.filename or output
        raise CommandError(f"{place} cannot be written: {error.strerror}") from None
