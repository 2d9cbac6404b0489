"""``python -m tests.faults.forgetful_mount DIRECTORY``: serves a forgetful disk there, by FUSE.

Lines on stdin: ``mount`` (until it is unmounted from outside), ``cut plain``, ``cut torn SEED``.
Each is answered by a line once it is done; ``mount`` when it is over.
"""

import errno
import itertools
import os
import stat
import sys
from typing import Any

import mfusepy

from tests.faults.forgetful import Directory, File, plain_cut, torn_cut

_BLOCK_BYTES = 4096
_BLOCKS = 1 << 22


class ForgetfulDisk(mfusepy.Operations):  # type: ignore[misc]
    """The file system. An fsync of a new file does not make its name durable: that takes one of
    its directory, as POSIX has it."""

    use_ns = True

    def __init__(self) -> None:
        self._root = Directory(0o40755)
        self._open: dict[int, File] = {}
        self._handles = itertools.count(1)

    def cut(self, kind: str, seed: str = "0") -> None:
        """The power goes off and on again."""
        self._root.forget(plain_cut() if kind == "plain" else torn_cut(int(seed)))
        self._open.clear()

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        node = self._open.get(fh or 0) or self._find(path)
        size = len(node.now) if isinstance(node, File) else _BLOCK_BYTES
        return {
            "st_mode": node.mode,
            "st_size": size,
            "st_blocks": -(-size // 512),
            "st_nlink": 1,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *self._directory(path).now]

    def mkdir(self, path: str, mode: int) -> int:
        parent, name = self._parent(path)
        parent.now[name] = Directory(stat.S_IFDIR | mode)
        return 0

    def rmdir(self, path: str) -> int:
        if self._directory(path).now:
            raise mfusepy.FuseOSError(errno.ENOTEMPTY)
        return self.unlink(path)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        parent, name = self._parent(path)
        parent.now[name] = File(stat.S_IFREG | mode)
        return self.open(path, 0)

    def open(self, path: str, flags: int) -> int:
        handle = next(self._handles)
        self._open[handle] = self._file(path)
        return handle

    def release(self, path: str, fh: int) -> int:
        self._open.pop(fh, None)
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return bytes(self._open[fh].now[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._open[fh].write(offset, data)
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        (self._open.get(fh or 0) or self._file(path)).resize(length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._open[fh].sync()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._directory(path).sync()
        return 0

    def unlink(self, path: str) -> int:
        parent, name = self._parent(path)
        if parent.now.pop(name, None) is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return 0

    def rename(self, old: str, new: str) -> int:
        (source, name), (target, new_name) = self._parent(old), self._parent(new)
        target.now[new_name] = self._find(old)
        if (source, name) != (target, new_name):
            del source.now[name]
        return 0

    def chmod(self, path: str, mode: int) -> int:
        node = self._find(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        return {
            "f_bsize": _BLOCK_BYTES,
            "f_frsize": _BLOCK_BYTES,
            "f_blocks": _BLOCKS,
            "f_bfree": _BLOCKS // 2,
            "f_bavail": _BLOCKS // 2,
            "f_namemax": 255,
        }

    def _find(self, path: str) -> File | Directory:
        node: File | Directory = self._root
        for name in filter(None, path.split("/")):
            if not isinstance(node, Directory) or name not in node.now:
                raise mfusepy.FuseOSError(errno.ENOENT)
            node = node.now[name]
        return node

    def _file(self, path: str) -> File:
        node = self._find(path)
        if isinstance(node, Directory):
            raise mfusepy.FuseOSError(errno.EISDIR)
        return node

    def _directory(self, path: str) -> Directory:
        node = self._find(path)
        if isinstance(node, File):
            raise mfusepy.FuseOSError(errno.ENOTDIR)
        return node

    def _parent(self, path: str) -> tuple[Directory, str]:
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name


def main(directory: str) -> None:
    """Does what stdin says until it ends."""
    disk = ForgetfulDisk()
    for line in sys.stdin:
        words = line.split()
        if words[0] == "mount":
            mfusepy.FUSE(disk, directory, foreground=True, nothreads=True)
        else:
            disk.cut(*words[1:])
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
