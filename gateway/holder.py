"""The name under which a gateway holds leases: kept with its spool, which may hold spent units."""

import os
import secrets
from pathlib import Path

from gateway.spool.directory import sync_directory

_FILE = "holder"


def read_holder(directory: Path) -> str:
    """The name kept in a spool's directory; a new one, kept durably, if there is none. Blocks.

    The directory must be this process's own. Raises OSError.
    """
    path = directory / _FILE
    try:
        return path.read_text(encoding="ascii").strip() or _make(path)
    except FileNotFoundError:
        return _make(path)


def _make(path: Path) -> str:
    holder = f"gw_{secrets.token_hex(8)}"
    temporary = path.with_suffix(".new")
    with open(temporary, "w", encoding="ascii") as file:
        file.write(holder)
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
    return holder
