"""The search index, as it is written.

``search_documents`` has a row for each submission that is indexed: its words, and a scope, which
names its form and how it is filed. What the databases index is each word behind its scope
(``scope:word``), so that a look-up never reads what other forms, or other statuses, have of a word.
SQLite keeps that index in the FTS5 table ``search_index``, which triggers make follow the
documents; PostgreSQL in a GIN index on the same expression. Migration 0004 has both. A document
goes with its submission (``ON DELETE CASCADE``), whoever deletes it.

``number`` sorts as the submission's id does, and is an integer, as FTS5 wants it: the newest
documents of a word are read without sorting the others.

What is indexed is known without a mark on each submission, which would cost the commit: all whose
id is up to ``complete_before`` are, except those noted in ``search_late``; of later ones those that
have a document.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    bindparam,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from backend.search.conditions import FORM_PREFIX, LETTERS, is_recent, is_unindexed
from backend.tables import search_documents, search_late, search_state, submissions
from backend.transaction import SqlalchemyTransaction, Transaction, among, encode_texts

LATE_MS = 10_000
"""A submission that is committed so long after its id was minted has to be noted as late."""
# Any number, as long as every backend uses the same.
_INDEXER_LOCK = 7_308_896
_ALPHABET = {character: value for value, character in enumerate("0123456789abcdefghjkmnpqrstvwxyz")}
_NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Pending:
    """A submission to index; ``payload`` is JSON text, or None if it is gone."""

    id: str
    payload: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """A submission's words, with a space between each two."""

    submission_id: str
    words: str


def number_of(id: str) -> int:
    """A number of 63 bits that sorts as the id, or as the beginning of one: 43 bits of
    milliseconds, then 20 random ones."""
    number = 0
    for character in id[4:18].ljust(14, "0"):
        number = number << 5 | _ALPHABET[character]
    return number & _NUMBER_MAX


def note_late(transaction: Transaction, ids: Collection[str]) -> None:
    """Says of submissions, in the transaction that stores them, that the indexer may be past them
    already."""
    transaction.run(_insert_late, [{"late_id": id} for id in ids])


async def note_all_late(connection: AsyncConnection, ids: Collection[str]) -> None:
    """As ``note_late``, for other transactions."""
    await connection.run_sync(lambda sync: note_late(SqlalchemyTransaction(sync), ids))


async def refile(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Makes the index say how these submissions are filed, in the transaction that files them."""
    scope = select(_scope).where(submissions.c.id == search_documents.c.submission_id)
    await connection.execute(
        update(search_documents)
        .where(search_documents.c.submission_id.in_(ids))
        .values(scope=scope.scalar_subquery())
    )


async def pending(connection: AsyncConnection, after: str, limit: int) -> list[Pending]:
    """Submissions without a document, oldest first, of those that come after an id and may be
    without one."""
    statement = (
        select(submissions.c.id, submissions.c.payload)
        .where(
            submissions.c.id > after,
            is_recent(submissions.c.id),
            is_unindexed(submissions.c.id),
        )
        .order_by(submissions.c.id)
        .limit(limit)
    )
    return [Pending(row.id, row.payload) for row in await connection.execute(statement)]


async def late(connection: AsyncConnection, limit: int) -> list[Pending]:
    """Submissions that were noted as late."""
    statement = (
        select(search_late.c.submission_id, submissions.c.payload)
        .outerjoin(submissions, submissions.c.id == search_late.c.submission_id)
        .order_by(search_late.c.submission_id)
        .limit(limit)
    )
    found = await connection.execute(statement)
    return [Pending(row.submission_id, row.payload) for row in found]


async def overlooked(connection: AsyncConnection, after: str, limit: int) -> tuple[list[str], str]:
    """Those without a document among the next ``limit`` submissions after an id, and the id of the
    last one looked at: empty at the end."""
    looked_at = (
        select(submissions.c.id)
        .where(submissions.c.id > after)
        .order_by(submissions.c.id)
        .limit(limit)
        .subquery()
    )
    last = (await connection.execute(select(func.max(looked_at.c.id)))).scalar()
    if last is None:
        return [], ""
    statement = select(submissions.c.id).where(
        submissions.c.id > after,
        submissions.c.id <= last,
        ~is_recent(submissions.c.id),
        is_unindexed(submissions.c.id),
    )
    return list((await connection.execute(statement)).scalars()), last


def hold_index(transaction: Transaction) -> bool:
    """Keeps other backends from writing the index until the transaction ends; whether none does."""
    if transaction.dialect == "sqlite":
        return True
    [row] = transaction.rows(_try_lock, {"lock": _INDEXER_LOCK})
    return bool(row.is_held)


def add_documents(transaction: Transaction, documents: Sequence[Document]) -> None:
    """Indexes submissions as they are filed at this moment; not those that are gone meanwhile."""
    if not documents:
        return
    rows = [_row(document, number_of(document.submission_id)) for document in documents]
    transaction.run(_insert_document, rows)
    # Hardly ever: two ids whose numbers are alike.
    left = {row.id for row in transaction.rows(_left, {"ids": _ids_of(documents)})}
    for document in documents:
        if document.submission_id in left:
            free = _free_number(transaction, document.submission_id)
            transaction.run(_insert_document, [_row(document, free)])


def forget_late(transaction: Transaction, ids: Collection[str]) -> None:
    """Takes back that submissions are late."""
    transaction.rows(_delete_late, {"ids": encode_texts(ids)})


def complete(transaction: Transaction, before: str) -> None:
    """Says that all submissions up to this id are indexed, or noted as late."""
    transaction.run(_complete, [{"before": before}])


def take_removed(transaction: Transaction) -> bool:
    """Whether anything was removed from the index since this was asked last."""
    return bool(transaction.rows(_take_removed, {}))


def merge(transaction: Transaction, pages: int) -> bool:
    """Merges some pages of SQLite's index, so that nothing is left in them of what was removed;
    whether there was anything to do. A negative number begins a merge of the whole index
    (https://sqlite.org/fts5.html#the_merge_command)."""
    [before] = transaction.rows(_changes, {})
    transaction.run(_merge, [{"pages": pages}])
    [after] = transaction.rows(_changes, {})
    # As documented: the command itself counts as one change.
    return bool(after.changes - before.changes >= 2)


def _free_number(transaction: Transaction, id: str) -> int:
    """The number nearest to an id's own that is free, on the side on which it sorts as the id."""
    number = number_of(id)
    step = 0
    while holder := transaction.rows(_holder, {"wanted": number}):
        step = step or (1 if id > holder[0].submission_id else -1)
        number += step
    return number


def _row(document: Document, number: int) -> dict[str, str | int]:
    return {
        "new_id": document.submission_id,
        "new_number": number,
        "new_words": document.words,
    }


def _ids_of(documents: Sequence[Document]) -> str:
    return encode_texts([document.submission_id for document in documents])


def _letter() -> ColumnElement[str]:
    filed = [
        (
            (submissions.c.status == _constant(status))
            & (submissions.c.is_read == (true() if is_read else false())),
            _constant(letter),
        )
        for (status, is_read), letter in LETTERS.items()
    ]
    return case(*filed)


def _constant(word: str) -> ColumnElement[str]:
    # In the statement's text: what a transaction runs has no parameters of its own.
    return literal_column(f"'{word}'", Text)


_form = func.substr(submissions.c.form_id, literal_column(str(FORM_PREFIX + 1)))
_scope = _form.concat(_letter()).concat(_constant(":"))
_insert_late = insert(search_late).from_select(
    ["submission_id"],
    select(bindparam("late_id", type_=Text)).where(
        ~exists().where(search_late.c.submission_id == bindparam("late_id", type_=Text))
    ),
)
_delete_late = (
    delete(search_late)
    .where(among(search_late.c.submission_id, "ids"))
    .returning(search_late.c.submission_id)
)
_holder = select(search_documents.c.submission_id).where(
    search_documents.c.number == bindparam("wanted")
)
_left = select(submissions.c.id).where(
    among(submissions.c.id, "ids"), is_unindexed(submissions.c.id)
)
# Share-locked where the database locks rows: one that is filed otherwise in a concurrent
# transaction waits for this one, and finds the document.
_insert_document = insert(search_documents).from_select(
    ["number", "submission_id", "scope", "words"],
    select(
        bindparam("new_number", type_=BigInteger),
        submissions.c.id,
        _scope,
        bindparam("new_words", type_=Text),
    )
    .where(
        submissions.c.id == bindparam("new_id", type_=Text),
        is_unindexed(submissions.c.id),
        ~exists().where(search_documents.c.number == bindparam("new_number", type_=BigInteger)),
    )
    .with_for_update(read=True, of=submissions),
)
_complete = (
    update(search_state)
    .where(search_state.c.complete_before < bindparam("before"))
    .values(complete_before=bindparam("before"))
)
_take_removed = (
    update(search_state)
    .where(search_state.c.has_removed)
    .values(has_removed=false())
    .returning(search_state.c.id)
)
_try_lock = select(func.pg_try_advisory_xact_lock(bindparam("lock")).label("is_held"))
_changes = select(func.total_changes().label("changes"))
_merge = text("INSERT INTO search_index (search_index, rank) VALUES ('merge', :pages)")
