"""A transaction that one synchronous function runs: the intake's, where every microsecond counts.

The statements are SQLAlchemy's on both databases. On SQLite their text is compiled once and goes
straight to the driver: what SQLAlchemy does around each execution takes several times as long as
SQLite does. The statements must therefore be constants, with a ``bindparam`` for all that varies,
and need no conversion of values.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import orjson
from sqlalchemy import ClauseElement, ColumnElement, Connection, Executable, Insert, bindparam
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Parameters = Mapping[str, Any]

_NAMED = sqlite.dialect(paramstyle="named")


class Conflict(Exception):
    """A unique or foreign key stands in the way; the transaction is spent."""


class Transaction(Protocol):
    """What the function is given. ``dialect`` is ``sqlite`` or ``postgresql``.

    Both methods raise Conflict.
    """

    dialect: str

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Any]:
        """What a statement returns; columns are attributes."""

    def run(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        """Executes a statement once for each of the parameters, which have the same names."""


def among(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Whether a text column is one of the texts that ``encode_texts`` made of parameter ``name``.

    Unlike ``in_`` it is the same statement for any number of texts.
    """
    return column.op("IN", is_comparison=True)(_Texts(bindparam(name)))


def encode_texts(texts: Collection[str]) -> str:
    """The texts as a parameter of ``among``."""
    return orjson.dumps(list(texts)).decode()


class SqlalchemyTransaction:
    """Over a connection of SQLAlchemy's, inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect.name
        self._connection = connection

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Any]:
        try:
            return self._connection.execute(statement, parameters).all()
        except IntegrityError as error:
            raise Conflict(str(error.orig)) from error

    def run(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        try:
            self._connection.execute(statement, parameters)
        except IntegrityError as error:
            raise Conflict(str(error.orig)) from error


class SqliteTransaction:
    """Straight over the driver's connection, inside its transaction. Made once a connection."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._texts: dict[Executable, str] = {}
        self._row_types: dict[Executable, Any] = {}

    def rows(self, statement: Executable, parameters: Parameters) -> Sequence[Any]:
        try:
            cursor = self._connection.execute(self._text(statement, parameters), parameters)
            found = cursor.fetchall()
        except sqlite3.IntegrityError as error:
            raise Conflict(str(error)) from error
        return [self._row_type(statement, cursor)._make(row) for row in found]

    def run(self, statement: Executable, parameters: Sequence[Parameters]) -> None:
        try:
            self._connection.executemany(self._text(statement, parameters[0]), parameters)
        except sqlite3.IntegrityError as error:
            raise Conflict(str(error)) from error

    def _text(self, statement: Executable, parameters: Parameters) -> str:
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = _compiled(statement, parameters)
        return text

    def _row_type(self, statement: Executable, cursor: sqlite3.Cursor) -> Any:
        row_type = self._row_types.get(statement)
        if row_type is None:
            names = [column[0] for column in cursor.description]
            row_type = self._row_types[statement] = namedtuple("Row", names)
        return row_type


def _compiled(statement: Executable, parameters: Parameters) -> str:
    if not isinstance(statement, ClauseElement):
        raise TypeError("only statements of SQLAlchemy's can be run")
    keys = list(parameters) if isinstance(statement, Insert) else None
    return str(statement.compile(dialect=_NAMED, column_keys=keys))


class _Texts(FunctionElement[str]):
    """The texts of a JSON array, as a subquery."""

    inherit_cache = True


@compiles(_Texts, "sqlite")
def _texts_on_sqlite(element: _Texts, compiler: SQLCompiler, **options: Any) -> str:
    array = compiler.process(element.clauses, **options)
    return f"(SELECT value FROM json_each({array}))"  # noqa: S608


@compiles(_Texts, "postgresql")
def _texts_on_postgresql(element: _Texts, compiler: SQLCompiler, **options: Any) -> str:
    array = compiler.process(element.clauses, **options)
    return f"(SELECT jsonb_array_elements_text(CAST({array} AS JSONB)))"
