"""What a gateway knows, as one file, so that it can start while the backend is away.

The file holds Turnstile secrets: it is for its owner only, and every line but the first is sealed
(Fernet: AES-128-CBC and HMAC-SHA256) with a key that the internal token yields. The first line
names the format; the second is the head; each other line is a slice of some hundred entries, which
names the head and its own place, so that no line can be missing, swapped or another file's. A file
that is not whole and genuine is not used at all.

Everything here blocks: call it in a thread. Work is done slice by slice, so that other threads
are not kept waiting for long.
"""

import base64
import hmac
import os
import secrets
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
from cryptography.fernet import Fernet, InvalidToken

from contracts import internal
from contracts.forms import FormConfig, KeyGrant
from gateway.config.ages import Saved
from gateway.config.sharing import shared_form, shared_grant

_FORMAT = b"FormFlow gateway snapshot 1"
_KEY_PURPOSE = b"formflow gateway snapshot"
_SLICE = 200
# Fast: most of what a slower level would find is the members' names.
_COMPRESSION = 1
_BREATH_SECONDS = 0.001

SavedForm = Saved[FormConfig]
SavedGrant = tuple[bytes, Saved[KeyGrant]]


class SnapshotUnusable(Exception):
    """The file is not one to start from; the message says why."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Forms and grants (by digest of their key), as current as the feed was at ``revision``."""

    epoch: str
    revision: int
    forms: Iterable[SavedForm]
    grants: Iterable[SavedGrant]


class SnapshotFile:
    """One gateway's own file."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        # A cancelled task does not end its thread: that one may still be writing.
        self._lock = threading.Lock()
        key = hmac.digest(token.encode(), _KEY_PURPOSE, "sha256")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def write(self, snapshot: Snapshot) -> int:
        """Replaces the file, durably and at once; its size in bytes. Raises OSError."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            size = self._replace(snapshot)
            _sync_directory(self._path.parent)
        return size

    def read(self) -> Snapshot | None:
        """What the file holds; None if there is none. Raises SnapshotUnusable."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SnapshotUnusable(error.strerror or str(error)) from error
        if lines[0] != _FORMAT:
            raise SnapshotUnusable("it was written by another version, or is no snapshot")
        try:
            return self._read_sealed(lines[1:-1])
        except InvalidToken as error:
            raise SnapshotUnusable("it is damaged, or sealed with another token") from error
        except (ValueError, KeyError, TypeError, IndexError, zlib.error) as error:
            raise SnapshotUnusable(f"it cannot be understood: {error!r}") from error

    def _replace(self, snapshot: Snapshot) -> int:
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.writelines(self._lines(snapshot))
                file.flush()
                os.fsync(descriptor)
                size = file.tell()
            new.replace(self._path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        return size

    def _lines(self, snapshot: Snapshot) -> Iterator[bytes]:
        name = secrets.token_hex(8)
        slices = chain(
            (_forms_slice(part) for part in _parts(snapshot.forms)),
            (_grants_slice(part) for part in _parts(snapshot.grants)),
            # The end: nothing is missing before it.
            [({"end": True}, b"")],
        )
        head = {"epoch": snapshot.epoch, "revision": snapshot.revision}
        yield _FORMAT + b"\n"
        for place, (members, body) in enumerate(chain([(head, b"")], slices)):
            document = orjson.dumps({"snapshot": name, "place": place} | members)
            yield self._fernet.encrypt(zlib.compress(document + b"\n" + body, _COMPRESSION)) + b"\n"
            # Requests are answered by another thread of this interpreter.
            time.sleep(_BREATH_SECONDS)

    def _read_sealed(self, lines: Sequence[bytes]) -> Snapshot:
        forms: list[SavedForm] = []
        grants: list[SavedGrant] = []
        head, _ = self._unseal(lines[0])
        members = head
        for place, line in enumerate(lines[1:], start=1):
            members, body = self._unseal(line)
            if (members["snapshot"], members["place"]) != (head["snapshot"], place):
                raise SnapshotUnusable("its parts do not belong together")
            forms += _saved_forms(members, body)
            grants += _saved_grants(members)
        if "end" not in members:
            raise SnapshotUnusable("it is cut off")
        return Snapshot(head["epoch"], head["revision"], forms, grants)

    def _unseal(self, line: bytes) -> tuple[dict[str, Any], bytes]:
        document, _, body = zlib.decompress(self._fernet.decrypt(line)).partition(b"\n")
        return orjson.loads(document), body


def _parts(entries: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(entries)
    while part := list(islice(iterator, _SLICE)):
        yield part


def _forms_slice(part: Sequence[SavedForm]) -> tuple[dict[str, Any], bytes]:
    known = {saved.thing.slug: (saved.known_at_ms, saved.is_followed) for saved in part}
    forms: dict[str, FormConfig | None] = {saved.thing.slug: saved.thing for saved in part}
    return {"forms": known}, internal.encode_lookup(internal.LookupAnswer("", 0, forms))


def _saved_forms(members: dict[str, Any], body: bytes) -> Iterator[SavedForm]:
    if "forms" not in members:
        return
    # A form that this version does not understand is left out: it has to be looked up.
    for slug, form in internal.decode_lookup(body).forms.items():
        if form is not None:
            yield Saved(shared_form(form), *members["forms"][slug])


def _grants_slice(part: Sequence[SavedGrant]) -> tuple[dict[str, Any], bytes]:
    return {
        "grants": [
            (
                digest.hex(),
                internal.grant_document(saved.thing),
                saved.known_at_ms,
                saved.is_followed,
            )
            for digest, saved in part
        ]
    }, b""


def _saved_grants(members: dict[str, Any]) -> Iterator[SavedGrant]:
    for digest, grant, known_at_ms, is_followed in members.get("grants", ()):
        shared = shared_grant(internal.grant_of(grant))
        yield bytes.fromhex(digest), Saved(shared, known_at_ms, is_followed)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
