"""What a query on submissions says of the search index (``backend.search.store`` explains it)."""

from collections.abc import Collection, Sequence

from sqlalchemy import (
    ColumnElement,
    FromClause,
    cast,
    column,
    exists,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from backend.search.words import Query
from backend.tables import search_documents, search_state

Filing = tuple[str, bool]
"""How a submission is filed: its status, and whether it is read."""

LETTERS: dict[Filing, str] = {
    ("received", False): "a",
    ("received", True): "b",
    ("spam", False): "c",
    ("spam", True): "d",
    ("held", False): "e",
    ("held", True): "f",
}
FORM_PREFIX = len("frm_")
# Of migration 0004's index, which serves only what is written alike.
_LEXEMES = (
    "array_to_tsvector(string_to_array(search_documents.scope || "
    "replace(search_documents.words, ' ', ' ' || search_documents.scope), ' '))"
)
_index = table("search_index", column("rowid"))


def is_unindexed(id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a submission has no document."""
    return ~exists().where(search_documents.c.submission_id == id)


def is_recent(id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a submission may have no document though nobody noted that it came late."""
    return id > select(search_state.c.complete_before).scalar_subquery()


def documents(dialect: str) -> FromClause:
    """Where to look for documents."""
    if dialect == "sqlite":
        return _index.join(search_documents, search_documents.c.number == _index.c.rowid)
    return search_documents


def number(dialect: str) -> ColumnElement[int]:
    """The document's number, by which FTS5 can begin anywhere and walk in order."""
    return _index.c.rowid if dialect == "sqlite" else search_documents.c.number


def is_found(
    dialect: str, query: Query, form_ids: Sequence[str], filings: Collection[Filing]
) -> ColumnElement[bool]:
    """Whether a document is what the query looks for, in one of these forms and filed in one of
    these ways."""
    scopes = [
        f"{form_id[FORM_PREFIX:]}{LETTERS[filing]}:" for form_id in form_ids for filing in filings
    ]
    if dialect == "sqlite":
        wanted = " OR ".join(_fts5(query, scope) for scope in scopes)
        return literal_column("search_index").op("MATCH", is_comparison=True)(literal(wanted))
    wanted = " | ".join(_tsquery(query, scope) for scope in scopes)
    lexemes: ColumnElement[str] = literal_column(_LEXEMES)
    return lexemes.op("@@", is_comparison=True)(cast(literal(wanted), TSQUERY))


def _fts5(query: Query, scope: str) -> str:
    # In quotes, and of letters, digits and a colon only: FTS5 sees one string each.
    terms = [f'"{scope}{word}"' for word in query.words]
    if query.prefix is not None:
        terms.append(f'"{scope}{query.prefix}" *')
    return f"({' AND '.join(terms)})"


def _tsquery(query: Query, scope: str) -> str:
    terms = [f"'{scope}{word}'" for word in query.words]
    if query.prefix is not None:
        terms.append(f"'{scope}{query.prefix}':*")
    return f"({' & '.join(terms)})"
