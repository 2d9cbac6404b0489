"""Lists in pages: newest first, continued by an opaque cursor."""

import base64
import binascii
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from backend.answers import invalid
from contracts.ids import is_id

Item = TypeVar("Item")


class HasId(Protocol):
    """What is listed in the order of its ids."""

    @property
    def id(self) -> str: ...


Row = TypeVar("Row", bound=HasId)


class PageQuery(BaseModel):
    """The parameters of every list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=100, description="How many to give at most.")
    cursor: str | None = Field(None, description="The `next_cursor` of the page before.")

    def before(self, prefix: str) -> str | None:
        """The id that the page comes after; ids have ``prefix``. Raises Rejected."""
        if self.cursor is None:
            return None
        last_id = _decode(self.cursor)
        if not is_id(last_id, prefix):
            raise invalid("cursor", "bad_cursor", "This is not a cursor of this list.")
        return last_id


class Page(BaseModel, Generic[Item]):
    """A page of a list; ``next_cursor`` is null on the last one."""

    data: list[Item]
    next_cursor: str | None


def cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], str | None]:
    """The page and its next cursor, from rows of which one more than ``limit`` was asked for."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], _encode(rows[limit - 1].id)


def cursor_after(last_id: str | None) -> str | None:
    """The cursor of what comes after an id; None of what comes after nothing."""
    return None if last_id is None else _encode(last_id)


def _encode(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
