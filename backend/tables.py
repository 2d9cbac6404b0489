"""The schema, once, for SQLite and PostgreSQL.

Times are Unix milliseconds. Ids are typed text (``contracts.ids``). JSON is kept as text: a NUL
travels as the escape ``\\u0000``, which PostgreSQL's ``jsonb`` would refuse.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

config_state = Table(
    "config_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("email", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

forms = Table(
    "forms",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("honeypot_enabled", Boolean, nullable=False),
    Column("honeypot_field", Text, nullable=False),
    Column("redirect_url", Text),
    Column("redirect_hosts", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("allowed_origins", Text, nullable=False),
    Column("rate_limit_per_minute", Integer, nullable=False),
    Column("idempotency_strict", Boolean, nullable=False),
    Column("turnstile_enabled", Boolean, nullable=False),
    Column("turnstile_site_key", Text),
    # Sealed with the secret key of the installation.
    Column("turnstile_secret", Text),
    Column("turnstile_skip_with_key", Boolean, nullable=False),
    Column("turnstile_on_outage", Text, nullable=False),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # A deleted form keeps its row, so that the feed can say so and the slug stays taken.
    Column("deleted_at", BigInteger),
    Index(None, "account_id", "id"),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("form_id", Text, ForeignKey("forms.id"), nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("meta", Text, nullable=False),
    # Rows of check, verdict and microseconds, as JSON text.
    Column("trace", Text, nullable=False),
    # Units of the monthly quota that it cost.
    Column("charged", Integer, nullable=False),
    Column("key_id", Text),
    Index(None, "form_id", "id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("form_id", Text, ForeignKey("forms.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("submission_id", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("submission_id", Text, ForeignKey("submissions.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    Column("field", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("object_key", Text, nullable=False, unique=True),
)

# A month is "2026-06", in UTC. One row is the authority on a month's quota.
usage_months = Table(
    "usage_months",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("month", Text, primary_key=True),
    Column("submissions", BigInteger, nullable=False),
    # Units on lease: the sum of granted less settled over the month's leases. Whoever changes a
    # lease holds this row.
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    # When four fifths and all of the quota were reached: the owner is told once of each.
    Column("reached_80_at", BigInteger),
    Column("reached_100_at", BigInteger),
)

# Gateways with a spool. Leases are granted to ``session`` only, one life of a gateway's memory.
lease_holders = Table(
    "lease_holders",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("session", Text, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

# Units of a month's quota that a holder may accept by itself while the backend is away.
leases = Table(
    "leases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("holder", Text, nullable=False, index=True),
    Column("session", Text, nullable=False),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("month", Text, nullable=False),
    Column("granted", BigInteger, nullable=False),
    # Units that stored submissions have cost: never more than were granted.
    Column("settled", BigInteger, nullable=False),
    # From then on its holder spends nothing more of it.
    Column("ended_at", BigInteger),
    Column("recalled_at", BigInteger),
    # The configuration revision of the recall.
    Column("revision", BigInteger, index=True),
    Index(None, "account_id", "month"),
)

# A promised id whose submission turned out to be a replay of another.
submission_aliases = Table(
    "submission_aliases",
    metadata,
    Column("id", Text, primary_key=True),
    # Not a foreign key: the submission may be deleted before its alias is known.
    Column("submission_id", Text, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    # The public part of the key itself, by which a presented key is found.
    Column("key_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_by", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revision", BigInteger, nullable=False, index=True),
    Index(None, "account_id", "id"),
)
