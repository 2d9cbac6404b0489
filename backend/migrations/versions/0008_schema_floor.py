"""Which releases can work with the schema, so that an older one can start beside a newer one."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    floor = op.create_table(
        "schema_floor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schema_floor"),
    )
    # Older code could work with this schema, but does not look here and starts with its own only.
    op.bulk_insert(floor, [{"id": 1, "revision": "0008"}])


def downgrade() -> None:
    op.drop_table("schema_floor")
