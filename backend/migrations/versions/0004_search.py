"""Search, and lists of submissions by how they are filed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Each word behind its scope, which has a colon at its end.
_TERMS = "{row}scope || replace({row}words, ' ', ' ' || {row}scope)"


def upgrade() -> None:
    # Every list asks for some ways of filing; one index of all of them costs the commit the least.
    op.create_index(
        "ix_submissions_form_id_status_is_read_id",
        "submissions",
        ["form_id", "status", "is_read", "id"],
    )
    op.drop_index("ix_submissions_form_id_id", "submissions")
    _create_tables()
    if op.get_bind().dialect.name == "sqlite":
        _index_on_sqlite()
    else:
        terms = _TERMS.format(row="")
        op.execute(
            "CREATE INDEX ix_search_documents_terms ON search_documents "
            f"USING gin (array_to_tsvector(string_to_array({terms}, ' ')))"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE search_index")
    for table in ("search_documents", "search_late", "search_state"):
        op.drop_table(table)
    op.create_index("ix_submissions_form_id_id", "submissions", ["form_id", "id"])
    op.drop_index("ix_submissions_form_id_status_is_read_id", "submissions")


def _create_tables() -> None:
    op.create_table(
        "search_documents",
        # What FTS5 calls a rowid, so that nothing is kept twice.
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_search_documents"),
        sa.UniqueConstraint("submission_id", name="uq_search_documents_submission_id"),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name="fk_search_documents_submission_id",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "search_late",
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission_id", name="pk_search_late"),
    )
    state = op.create_table(
        "search_state",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("complete_before", sa.Text(), nullable=False),
        sa.Column("has_removed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_search_state"),
    )
    op.bulk_insert(state, [{"id": 1, "complete_before": "", "has_removed": False}])


def _index_on_sqlite() -> None:
    """An index without a copy of the text: what was indexed is told again to remove it, as SQLite
    before 3.43 requires (https://sqlite.org/fts5.html#external_content_tables)."""
    op.execute(
        "CREATE VIRTUAL TABLE search_index USING fts5(terms, content='', columnsize=0, "
        # Beginnings of three characters, behind the scope's 28, are indexed as such.
        "detail=none, prefix='31', tokenize=\"ascii tokenchars ':'\")"
    )
    new, old = _TERMS.format(row="NEW."), _TERMS.format(row="OLD.")
    add = f"INSERT INTO search_index (rowid, terms) VALUES (NEW.number, {new})"  # noqa: S608
    columns = "search_index, rowid, terms"
    remove = f"INSERT INTO search_index ({columns}) VALUES ('delete', OLD.number, {old})"  # noqa: S608
    mark = "UPDATE search_state SET has_removed = 1 WHERE NOT has_removed"
    for event, statements in (
        ("INSERT", (add,)),
        ("DELETE", (remove, mark)),
        ("UPDATE OF scope", (remove, add, mark)),
    ):
        op.execute(
            f"CREATE TRIGGER search_documents_{event.split()[0].lower()} "
            f"AFTER {event} ON search_documents BEGIN {'; '.join(statements)}; END"
        )
