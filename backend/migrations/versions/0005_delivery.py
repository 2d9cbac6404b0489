"""Webhooks, and the durable outbox from which webhooks and mails go out."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("submissions", sa.Column("delivery_began_at", sa.BigInteger()))
    probes = sa.Column("probes", sa.BigInteger(), nullable=False, server_default="0")
    op.add_column("form_days", probes)
    _extend_forms()
    _create_webhooks()
    _create_outbox()
    _create_deliveries()
    _create_notes()


def downgrade() -> None:
    for table in (
        "form_silences",
        "autoresponses",
        "delivery_attempts",
        "deliveries",
        "outbox",
        "webhooks",
    ):
        op.drop_table(table)
    for table, columns in (
        (
            "forms",
            (
                "autoresponse_enabled",
                "autoresponse_subject",
                "autoresponse_message",
                "silence_alarm_enabled",
            ),
        ),
        ("submissions", ("delivery_began_at",)),
        ("form_days", ("probes",)),
    ):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)


def _extend_forms() -> None:
    for column in (
        sa.Column("autoresponse_enabled", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("autoresponse_subject", sa.Text()),
        sa.Column("autoresponse_message", sa.Text()),
        sa.Column("silence_alarm_enabled", sa.Boolean(), nullable=False, server_default=sa.true()),
    ):
        op.add_column("forms", column)


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("form_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("headers", sa.Text()),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("previous_secret", sa.Text()),
        sa.Column("previous_secret_until", sa.BigInteger()),
        sa.Column("failures_in_row", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failing_since", sa.BigInteger()),
        sa.Column("last_delivery_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhooks"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_webhooks_account_id"),
        sa.ForeignKeyConstraint(["form_id"], ["forms.id"], name="fk_webhooks_form_id"),
    )
    op.create_index("ix_webhooks_form_id_id", "webhooks", ["form_id", "id"])
    op.create_index("ix_webhooks_account_id_id", "webhooks", ["account_id", "id"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("form_id", sa.Text()),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("submission_ids", sa.Text()),
        sa.Column("details", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("set_aside_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("form_id", sa.Text()),
        sa.Column("submission_id", sa.Text()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("webhook_id", sa.Text()),
        sa.Column("recipient", sa.Text()),
        sa.Column("details", sa.Text()),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("claim", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", sa.Text()),
        sa.Column("replay_of", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_deliveries_account_id"),
    )
    op.create_index("ix_deliveries_submission_id", "deliveries", ["submission_id"])
    for name, columns, condition in (
        ("due", ["target", "next_at"], "status = 'pending'"),
        ("webhook_id_id", ["webhook_id", "id"], "webhook_id IS NOT NULL"),
        ("form_id_id", ["form_id", "id"], "form_id IS NOT NULL"),
        ("finished_at", ["finished_at"], "finished_at IS NOT NULL"),
    ):
        op.create_index(f"ix_deliveries_{name}", "deliveries", columns, **_where(condition))
    op.create_table(
        "delivery_attempts",
        sa.Column("delivery_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("answer", sa.Text()),
        sa.Column("request_url", sa.Text()),
        sa.Column("request_headers", sa.Text()),
        sa.PrimaryKeyConstraint("delivery_id", "started_at", name="pk_delivery_attempts"),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name="fk_delivery_attempts_delivery_id",
            ondelete="CASCADE",
        ),
    )


def _create_notes() -> None:
    op.create_table(
        "autoresponses",
        sa.Column("form_id", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("form_id", "address", "day", name="pk_autoresponses"),
    )
    op.create_table(
        "form_silences",
        sa.Column("form_id", sa.Text(), nullable=False),
        sa.Column("silent_since", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("form_id", name="pk_form_silences"),
    )


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
