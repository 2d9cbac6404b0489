"""What a run measures: FormFlow or a peer, running, with the processes that do its work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Store(Protocol):
    """Where a target's accepted posts end up."""

    def stored(self) -> int:
        """The rows stored so far."""

    def durability(self) -> dict[str, str]:
        """What the database itself says of its durability settings (``synchronous`` and so on)."""


@dataclass(frozen=True)
class Target:
    """A running program under load.

    ``origin`` is like ``http://127.0.0.1:8000``; forms are posted to ``origin + path``.
    ``processes`` maps a role (``gateway``, ``backend``, ``server``) to the ids of its processes.
    ``store`` is None for a floor, which stores nothing.
    """

    name: str
    origin: str
    path: str
    processes: Mapping[str, tuple[int, ...]]
    store: Store | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
