"""Small files on their way to the backend, many in one message.

The message is a line of JSON, a list of ``[object key, sha256, size]``, and after it the bytes of
the files, one after the other: nothing is encoded or copied piece by piece.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from contracts.internal import UndecodableMessage

SMALL_FILE_BYTES = 65_536
FILES_MAX = 64
# Ample for the key and the digest of each, too.
MESSAGE_BYTES_MAX = FILES_MAX * (SMALL_FILE_BYTES + 8_192)
CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class SmallFile:
    """A whole file, and the digest (hex) that it is said to have."""

    object_key: str
    sha256: str
    data: bytes = field(repr=False)


def encode_files(files: Iterable[SmallFile]) -> bytes:
    """The message."""
    files = list(files)
    head = orjson.dumps([[file.object_key, file.sha256, len(file.data)] for file in files])
    return b"".join([head, b"\n", *(file.data for file in files)])


def decode_files(message: bytes) -> Sequence[SmallFile]:
    """The files of a message, none of them compared with its digest. Raises UndecodableMessage."""
    start = message.find(b"\n") + 1
    files = []
    try:
        for object_key, sha256, size in orjson.loads(message[:start]):
            if not 0 <= size <= SMALL_FILE_BYTES:
                raise ValueError(f"{size} bytes")
            files.append(SmallFile(str(object_key), str(sha256), message[start : start + size]))
            start += size
    except (ValueError, TypeError) as error:
        raise UndecodableMessage(f"not a message of small files: {error!r}") from error
    if start != len(message) or len(files) > FILES_MAX:
        raise UndecodableMessage("not a message of small files: too much of them, or too little")
    return files
