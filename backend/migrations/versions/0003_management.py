"""What the management API keeps: more of forms, keys and members; environments, counts, the audit
log, and answers by idempotency key."""

import sqlalchemy as sa
from alembic import op

from contracts.ids import new_id

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEPT_SECONDS = 28 * 24 * 3600
_ENVIRONMENTS = ("production", "development", "staging")


def upgrade() -> None:
    op.add_column("config_state", sa.Column("retention_ran_at", sa.BigInteger()))
    _extend_forms()
    _extend_keys()
    op.add_column(
        "submissions",
        sa.Column("is_read", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    _extend_users()
    _create_environments()
    _create_counts()
    _create_audit_log()
    op.create_table(
        "api_answers",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_api_answers"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_api_answers_account_id"),
    )
    op.create_index("ix_api_answers_expires_at", "api_answers", ["expires_at"])


def downgrade() -> None:
    for table in ("api_answers", "audit_log", "gateway_reports", "daily_counts", "form_days"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_log_refuse()")
    op.drop_table("environments")
    op.drop_index("ix_users_invite_hash", "users")
    _drop("users", "permissions", "invite_hash", "invited_by", "invite_expires_at", "joined_at")
    _drop("submissions", "is_read")
    _drop("config_state", "retention_ran_at")
    _drop(
        "api_keys", "scopes", "environment", "allowed_ips", "allowed_forms",
        "rate_limit_per_minute", "burst", "expires_at", "last_used_at", "replaced_by",
    )  # fmt: skip
    _drop(
        "forms", "environment", "notify_emails", "from_address", "subject_template",
        "retention_days", "fields", "enforce_fields",
    )  # fmt: skip


def _drop(table: str, *columns: str) -> None:
    with op.batch_alter_table(table) as batch:
        for column in columns:
            batch.drop_column(column)


def _extend_forms() -> None:
    for column in (
        sa.Column("environment", sa.Text(), nullable=False, server_default="production"),
        sa.Column("notify_emails", sa.Text(), nullable=False, server_default=""),
        sa.Column("from_address", sa.Text()),
        sa.Column("subject_template", sa.Text()),
        sa.Column("retention_days", sa.Integer()),
        sa.Column("fields", sa.Text()),
        sa.Column("enforce_fields", sa.Boolean(), nullable=False, server_default=sa.false()),
    ):
        op.add_column("forms", column)
    op.execute(
        "UPDATE forms SET notify_emails = coalesce((SELECT email FROM users WHERE "
        "users.account_id = forms.account_id AND users.role = 'owner' "
        "ORDER BY users.created_at, users.id LIMIT 1), '')"
    )


def _extend_keys() -> None:
    for column in (
        sa.Column("scopes", sa.Text()),
        sa.Column("environment", sa.Text()),
        sa.Column("allowed_ips", sa.Text()),
        sa.Column("allowed_forms", sa.Text()),
        sa.Column("rate_limit_per_minute", sa.Integer()),
        sa.Column("burst", sa.Integer()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("last_used_at", sa.BigInteger()),
        sa.Column("replaced_by", sa.Text()),
    ):
        op.add_column("api_keys", column)


def _extend_users() -> None:
    for column in (
        sa.Column("permissions", sa.Text()),
        sa.Column("invite_hash", sa.Text()),
        sa.Column("invited_by", sa.Text()),
        sa.Column("invite_expires_at", sa.BigInteger()),
        sa.Column("joined_at", sa.BigInteger()),
    ):
        op.add_column("users", column)
    op.create_index("ix_users_invite_hash", "users", ["invite_hash"])
    op.execute("UPDATE users SET joined_at = created_at")


def _create_environments() -> None:
    environments = op.create_table(
        "environments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_environments"),
        sa.UniqueConstraint("account_id", "name", name="uq_environments_account_id_name"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_environments_account_id"),
    )
    accounts = op.get_bind().execute(sa.text("SELECT id, created_at FROM accounts")).all()
    rows = [
        {
            "id": new_id("env", account.created_at),
            "account_id": account.id,
            "name": name,
            "created_at": account.created_at,
        }
        for account in accounts
        for name in _ENVIRONMENTS
    ]
    if rows:
        op.bulk_insert(environments, rows)


def _create_counts() -> None:
    op.create_table(
        "form_days",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("form_id", sa.Text(), nullable=False),
        sa.Column("submissions", sa.BigInteger(), nullable=False),
        sa.Column("spam", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("test", sa.BigInteger(), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", "form_id", name="pk_form_days"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_form_days_account_id"),
    )
    op.create_table(
        "daily_counts",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", "name", name="pk_daily_counts"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_daily_counts_account_id"),
    )
    op.create_table(
        "gateway_reports",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("session", name="pk_gateway_reports"),
    )


def _create_audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("address", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("details", sa.Text()),
        sa.Column("count", sa.BigInteger(), nullable=False, server_default="1"),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_audit_log_account_id"),
    )
    for columns in (
        ["account_id", "id"],
        ["account_id", "action", "id"],
        ["account_id", "actor_kind", "actor_id", "action", "id"],
        ["account_id", "target", "id"],
    ):
        op.create_index(f"ix_audit_log_{'_'.join(columns)}", "audit_log", columns)
    _protect_audit_log()


def _protect_audit_log() -> None:
    """Refuses to change an event, and to remove a young one, whatever the code may come to do.

    By the database's clock, with some days less than the least ``audit_retention_days`` for the
    difference to the backend's.
    """
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )
        op.execute(
            "CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log "
            f"WHEN OLD.occurred_at > (strftime('%s', 'now') - {_KEPT_SECONDS}) * 1000 "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        )
        return
    op.execute(
        "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log "
        "FOR EACH ROW EXECUTE FUNCTION audit_log_refuse()"
    )
    op.execute(
        "CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log FOR EACH ROW "
        f"WHEN (OLD.occurred_at > (extract(epoch FROM now()) - {_KEPT_SECONDS}) * 1000) "
        "EXECUTE FUNCTION audit_log_refuse()"
    )
    op.execute(
        "CREATE TRIGGER audit_log_not_truncated BEFORE TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()"
    )
