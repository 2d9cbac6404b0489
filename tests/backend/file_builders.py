"""Files in a store, for backend tests."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from backend.files import FileStore
from backend.management import Services
from backend.tables import files
from contracts.files import object_key
from contracts.ids import new_id


def new_key(name: str = "cv.pdf", index: int = 0) -> str:
    return object_key(new_id("frm", 1), new_id("sub", 1), 1, index, name)


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def put(store: FileStore, key: str, data: bytes, **announced: Any) -> None:
    sha256 = announced.get("sha256", hashlib.sha256(data).hexdigest())
    await store.put(key, pieces(data), announced.get("size", len(data)), sha256)


async def get(store: FileStore, key: str) -> bytes | None:
    found = await store.get(key)
    if found is None:
        return None
    data = b"".join([chunk async for chunk in found.chunks])
    assert len(data) == found.size
    return data


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


async def add_file_row(services: Services, submission_id: str, **members: Any) -> str:
    """Adds the row of a file; returns its id."""
    row = {
        "id": new_id("fil", services.clock.now_ms()),
        "submission_id": submission_id,
        "position": 0,
        "field": "cv",
        "name": "cv.pdf",
        "size": 4,
        "content_type": "application/pdf",
        "sha256": "0" * 64,
        "object_key": new_key(),
    } | members
    async with services.database.write() as connection:
        await connection.execute(insert(files).values(row))
    return str(row["id"])
