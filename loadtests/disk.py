"""The disk under a directory: what it is, what a sync costs, and how many it was asked for."""

import os
from pathlib import Path
from statistics import median
from time import perf_counter

_SYNCS = 200
_BLOCK = bytes(4096)
_FLUSHES_FIELD = 18


def filesystem_of(directory: Path) -> str:
    """The type of the file system that holds the directory; on ``tmpfs`` a sync costs nothing."""
    best, found = "", "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        is_above = directory.resolve().is_relative_to(mount.replace("\\040", " "))
        if is_above and len(mount) >= len(best):
            best, found = mount, kind
    return found


def sync_ms(directory: Path) -> float:
    """What appending 4 KiB and waiting until it is on the disk takes: milliseconds, the median."""
    path = directory / "sync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return median(_sync_ms(descriptor) for _ in range(_SYNCS))
    finally:
        os.close(descriptor)
        path.unlink()


def flushes_of(directory: Path) -> int | None:
    """The flushes that the directory's disk has been asked for since the machine started, by all
    programs; None where the kernel does not tell."""
    device = directory.stat().st_dev
    for line in Path("/proc/diskstats").read_text().splitlines():
        # Documentation/admin-guide/iostats.rst: major, minor, name, then the counters.
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
            return int(fields[_FLUSHES_FIELD]) if len(fields) > _FLUSHES_FIELD else None
    return None


def _sync_ms(descriptor: int) -> float:
    started = perf_counter()
    os.write(descriptor, _BLOCK)
    os.fdatasync(descriptor)
    return (perf_counter() - started) * 1000
