"""Signing in at an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "oidc_identities",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_oidc_identities"),
        sa.UniqueConstraint("user_id", "issuer", name="uq_oidc_identities_user_id_issuer"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_oidc_identities_user_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "oidc_sessions",
        sa.Column("session_id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sid", sa.Text()),
        sa.Column("refresh_token", sa.Text()),
        sa.Column("refresh_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("session_id", name="pk_oidc_sessions"),
        sa.ForeignKeyConstraint(
            ["session_id"], ["sessions.id"], name="fk_oidc_sessions_session_id", ondelete="CASCADE"
        ),
    )
    for column in ("subject", "sid"):
        op.create_index(f"ix_oidc_sessions_issuer_{column}", "oidc_sessions", ["issuer", column])
    has_refresh = sa.text("refresh_at IS NOT NULL")
    op.create_index(
        "ix_oidc_sessions_due",
        "oidc_sessions",
        ["refresh_at"],
        sqlite_where=has_refresh,
        postgresql_where=has_refresh,
    )
    op.create_table(
        "oidc_used",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_oidc_used"),
    )
    op.create_index("ix_oidc_used_expires_at", "oidc_used", ["expires_at"])


def downgrade() -> None:
    for table in ("oidc_used", "oidc_sessions", "oidc_identities"):
        op.drop_table(table)
