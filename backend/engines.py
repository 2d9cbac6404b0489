"""The pools of connections: what is set up on a connection, and when one is given up."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backend.database_errors import is_server_gone

_POSTGRES_POOL = 10
# For a connection of the pool's to be free, and for one to be made; on SQLite no post waits for it.
_POOL_SECONDS = 2.0
_SQLITE_POOL_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
# No statement of the product's takes that long; one on a machine that has vanished takes as long as
# TCP does to give up, which is a quarter of an hour.
_STATEMENT_SECONDS = 30.0
# What a machine of ours that has vanished had locked is given up by the server then.
_IDLE_IN_TRANSACTION_MS = 60_000
# What visitors wrote is in no message, and so in no log.
_HIDES_PARAMETERS = True


def sqlite_engine(url: str, pragmas: Sequence[str], begin: str, connections: int) -> AsyncEngine:
    """An engine whose connections are told the ``pragmas``, and whose transactions begin with the
    statement ``begin``."""
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_SQLITE_POOL_SECONDS,
        hide_parameters=_HIDES_PARAMETERS,
    )
    _prepare_sqlite(engine.sync_engine, pragmas, begin)
    return engine


def postgresql_engine(url: str, *, is_patient: bool) -> AsyncEngine:
    """An engine that waits for seconds at most, and lends no connection that is known to have
    ended. If it ``is_patient``, its statements take as long as they need."""
    engine = create_async_engine(
        url,
        pool_size=_POSTGRES_POOL,
        pool_timeout=_POOL_SECONDS,
        connect_args={
            "timeout": _CONNECT_SECONDS,
            "command_timeout": None if is_patient else _STATEMENT_SECONDS,
        },
        hide_parameters=_HIDES_PARAMETERS,
    )
    _prepare_postgresql(engine.sync_engine)
    return engine


def _prepare_sqlite(engine: Engine, pragmas: Sequence[str], begin: str) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # The driver's own transaction control would begin deferred and late.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        # Said here and not as the connection is asked for: there, poolers refuse what they do not
        # know.
        cursor = connection.cursor()
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_IN_TRANSACTION_MS}")
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "checkout")
    def look(_: Any, record: Any, __: Any) -> None:
        # The driver has seen the end of the connection while it was idle: asking it costs no round
        # trip, as a ping would.
        if record.driver_connection.is_closed():
            raise DisconnectionError("the server has ended this connection")

    @event.listens_for(engine, "handle_error")
    def drop(context: ExceptionContext) -> None:
        # No connection of the pool's is kept then: each leads to the server that is gone.
        if is_server_gone(context.original_exception):
            context.is_disconnect = True
