"""Which errors mean that the database cannot be used now; all others are our own mistakes.

PostgreSQL tells by the SQLSTATE (appendix A of its manual), SQLite by the result code. An error is
the driver's, or SQLAlchemy's around it.
"""

import sqlite3

_CONNECTION_LOST = "08"
_SHUTDOWN = "57P"
_READ_ONLY = "25006"
_AWAY = (
    _CONNECTION_LOST,
    _READ_ONLY,
    "40",  # the transaction lost against another one
    "53",  # no space, no memory, too many connections
    "55P03",  # a lock was not to be had in the time the server allows
    "57",  # an operator, or the time the server allows, has ended it
    "58",  # the server's machine failed
)
_LOST_RACES = ("40001", "40P01")


def is_away(error: BaseException) -> bool:
    """Whether the same may work a moment later: the database is locked, overloaded, or gone."""
    if isinstance(error, OSError) or getattr(error, "connection_invalidated", False):
        return True
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.OperationalError):
        # That code is for statements that are wrong.
        return getattr(cause, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR
    return _sqlstate(error).startswith(_AWAY)


def is_server_gone(error: BaseException) -> bool:
    """Whether the server goes down, or is no longer the one that takes writes: other connections
    that lead to it are of no use either."""
    return _sqlstate(error).startswith((_CONNECTION_LOST, _SHUTDOWN, _READ_ONLY))


def has_lost_race(error: BaseException) -> bool:
    """Whether PostgreSQL ended the transaction, whole, in favour of another one: deadlock, or
    serialization failure. To be run again."""
    return _sqlstate(error) in _LOST_RACES


def _sqlstate(error: BaseException) -> str:
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""
