"""When keys, by their public part, were used last."""

from backend.db import Database
from backend.keys.store import mark_used
from backend.last_use import LastUse
from contracts.runtime.clock import Clock


class KeyUse(LastUse):
    """See ``LastUse``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock, mark_used, "keys")
