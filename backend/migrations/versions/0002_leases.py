"""Quota leases, and aliases of promised ids."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "usage_months",
        sa.Column("reserved", sa.BigInteger(), nullable=False, server_default="0"),
    )
    _create_leases()
    op.create_table(
        "submission_aliases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_submission_aliases"),
    )


def downgrade() -> None:
    op.drop_table("submission_aliases")
    op.drop_table("leases")
    op.drop_table("lease_holders")
    with op.batch_alter_table("usage_months") as table:
        table.drop_column("reserved")


def _create_leases() -> None:
    op.create_table(
        "lease_holders",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_lease_holders"),
    )
    op.create_table(
        "leases",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("recalled_at", sa.BigInteger()),
        sa.Column("revision", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_leases"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_leases_account_id"),
    )
    op.create_index("ix_leases_holder", "leases", ["holder"])
    op.create_index("ix_leases_revision", "leases", ["revision"])
    op.create_index("ix_leases_account_id_month", "leases", ["account_id", "month"])
