"""Whether a database's write-ahead log has lost commits: SQLite says nothing of it.

After a crash SQLite takes the log up to the first frame (a page and its header) that is not whole,
for what follows was never committed. If a frame in the middle was damaged later, that is not so.
Format: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
"""

import struct
from pathlib import Path

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_PAGE_BYTES = range(512, 65_536 + 1)
_LOG_BYTES_MIN = _HEADER_BYTES + _FRAME_HEADER_BYTES + _PAGE_BYTES.start
_MASK = 0xFFFFFFFF


def has_lost_commits(log: Path, recovered_frames: int) -> bool:
    """Whether the log holds a whole commit behind the frames that SQLite has recovered from it.

    The last commit does not count: damaged later, it is not to be told from one cut by a crash.
    """
    if not log.exists() or log.stat().st_size < _LOG_BYTES_MIN:
        return False
    with log.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if not _is_header(header):
            return True
        frame_bytes = _FRAME_HEADER_BYTES + _page_bytes(header)
        # Each frame's checksum goes on from that of the one before it.
        file.seek(_HEADER_BYTES + recovered_frames * frame_bytes)
        before = None
        while len(frame := file.read(frame_bytes)) == frame_bytes:
            if before is not None and _is_commit(frame, before, header):
                return True
            before = frame[16:24]
    return False


def _is_header(header: bytes) -> bool:
    is_plausible = _page_bytes(header) in _PAGE_BYTES
    return is_plausible and _checksum(header[:24], bytes(8), header) == header[24:]


def _is_commit(frame: bytes, before: bytes, header: bytes) -> bool:
    """Whether a frame is of this log, ends a transaction, and is as it was written."""
    is_of_log, ends = frame[8:16] == header[16:24], frame[4:8] != bytes(4)
    covered = frame[:8] + frame[_FRAME_HEADER_BYTES:]
    return is_of_log and ends and _checksum(covered, before, header) == frame[16:24]


def _page_bytes(header: bytes) -> int:
    return int.from_bytes(header[8:12], "big")


def _checksum(data: bytes, before: bytes, header: bytes) -> bytes:
    order = ">" if header[3] & 1 else "<"
    first, second = struct.unpack(">II", before)
    for left, right in struct.iter_unpack(f"{order}II", data):
        first = (first + left + second) & _MASK
        second = (second + right + first) & _MASK
    return struct.pack(">II", first, second)
