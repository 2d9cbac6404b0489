"""The schema, once, for SQLite and PostgreSQL.

Times are Unix milliseconds. Ids are typed text (``contracts.ids``). JSON is kept as text: a NUL
travels as the escape ``\\u0000``, which PostgreSQL's ``jsonb`` would refuse.
"""

from typing import Any

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
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _where(condition: str) -> dict[str, Any]:
    """What makes an index one of some rows only, on both engines."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


config_state = Table(
    "config_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("epoch", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    # When the last whole run of the retention ended.
    Column("retention_ran_at", BigInteger),
)

# One row: the oldest revision of the schema whose code can work with this one (``backend.schema``).
schema_floor = Table(
    "schema_floor",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Text, nullable=False),
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
    # Rights as a JSON list, instead of the role's.
    Column("permissions", Text),
    # An invited member has not joined yet; a digest of the invitation's token finds it.
    Column("invite_hash", Text, index=True),
    Column("invited_by", Text),
    Column("invite_expires_at", BigInteger),
    Column("joined_at", BigInteger),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("account_id", "name"),
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
    # The name of one of the account's environments.
    Column("environment", Text, nullable=False, server_default="production"),
    # Addresses with commas between them.
    Column("notify_emails", Text, nullable=False, server_default=""),
    Column("from_address", Text),
    Column("subject_template", Text),
    Column("retention_days", Integer),
    # The declared fields, as JSON text.
    Column("fields", Text),
    Column("enforce_fields", Boolean, nullable=False, server_default=false()),
    # The answer to visitors who leave an address; null for usual words.
    Column("autoresponse_enabled", Boolean, nullable=False, server_default=false()),
    Column("autoresponse_subject", Text),
    Column("autoresponse_message", Text),
    Column("silence_alarm_enabled", Boolean, nullable=False, server_default=true()),
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
    Column("is_read", Boolean, nullable=False, server_default=false()),
    # When a change of its filing handed it to delivery, or it turned out to be spam after its
    # commit had: nothing is delivered of itself twice.
    Column("delivery_began_at", BigInteger),
    # Lists read a range of it for each way of filing they want. It stands in for an index of form
    # and id, too, so that a commit has one to keep, not two.
    Index(None, "form_id", "status", "is_read", "id"),
)

# The words of a submission, for search; ``backend.search.store`` explains these tables.
search_documents = Table(
    "search_documents",
    metadata,
    Column(
        "number",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column(
        "submission_id",
        Text,
        ForeignKey("submissions.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    Column("scope", Text, nullable=False),
    Column("words", Text, nullable=False),
)

# Not a foreign key: the indexer forgets those that are gone.
search_late = Table(
    "search_late",
    metadata,
    Column("submission_id", Text, primary_key=True),
)

# One row.
search_state = Table(
    "search_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("complete_before", Text, nullable=False),
    Column("has_removed", Boolean, nullable=False),
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
    # A JSON list of rights; null for all that the kind may.
    Column("scopes", Text),
    # The name of one of the account's environments; null for all of them.
    Column("environment", Text),
    # JSON lists of networks and of form ids; null for no restriction.
    Column("allowed_ips", Text),
    Column("allowed_forms", Text),
    # Null for what the plan says.
    Column("rate_limit_per_minute", Integer),
    Column("burst", Integer),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    # The id of the key that a rotation put in its place.
    Column("replaced_by", Text),
    Index(None, "account_id", "id"),
)

# What was committed for a form on a day, "2026-06-30" in UTC.
form_days = Table(
    "form_days",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("day", Text, primary_key=True),
    Column("form_id", Text, primary_key=True),
    Column("submissions", BigInteger, nullable=False),
    Column("spam", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("test", BigInteger, nullable=False),
    Column("file_bytes", BigInteger, nullable=False),
    # Those of the submissions that are probes of the owner's: no sign that the form is used.
    Column("probes", BigInteger, nullable=False, server_default="0"),
)

# What left no submission behind: outcomes of posts, calls of the API.
daily_counts = Table(
    "daily_counts",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("day", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# The last report counted of each life of a gateway: a repeated one is not counted again.
gateway_reports = Table(
    "gateway_reports",
    metadata,
    Column("session", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("reported_at", BigInteger, nullable=False),
)

# Rows are added and, when they are old, removed; never changed: triggers see to it (0003).
audit_log = Table(
    "audit_log",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text),
    Column("action", Text, nullable=False),
    Column("target", Text),
    Column("outcome", Text, nullable=False),
    Column("address", Text),
    Column("user_agent", Text),
    Column("details", Text),
    # How many times the same happened, for what is gathered before it is written.
    Column("count", BigInteger, nullable=False, server_default="1"),
    Index(None, "account_id", "id"),
    Index(None, "account_id", "action", "id"),
    Index(None, "account_id", "actor_kind", "actor_id", "action", "id"),
    Index(None, "account_id", "target", "id"),
)

# The answers to unsafe requests of the management API, by their idempotency key.
api_answers = Table(
    "api_answers",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer, nullable=False),
    # Sealed: an answer may show a key in full.
    Column("content", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("form_id", Text, ForeignKey("forms.id"), nullable=False),
    Column("url", Text, nullable=False),
    # What the receiver understands: formflow, slack, discord or telegram.
    Column("format", Text, nullable=False),
    # A JSON list.
    Column("events", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text),
    # A JSON object, its values sealed: headers carry credentials.
    Column("headers", Text),
    # Sealed. After a rotation the one before it signs, too, until then.
    Column("secret", Text, nullable=False),
    Column("previous_secret", Text),
    Column("previous_secret_until", BigInteger),
    # Failed deliveries since the last one that succeeded, and when the first of them failed.
    Column("failures_in_row", Integer, nullable=False, server_default="0"),
    Column("failing_since", BigInteger),
    Column("last_delivery_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "form_id", "id"),
    Index(None, "account_id", "id"),
)

# What is to be delivered, written by the transaction that causes it. The dispatcher makes
# deliveries of a row and removes it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("form_id", Text),
    Column("event", Text, nullable=False),
    # A JSON list: submissions of one form that a transaction stored or released.
    Column("submission_ids", Text),
    # A JSON object: what a notice to the owners says.
    Column("details", Text),
    Column("created_at", BigInteger, nullable=False),
    # No deliveries could be made of it: it is tried again when a backend starts.
    Column("set_aside_at", BigInteger),
)

# One event on its way to one target. What it says is made of the submission at each attempt.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("form_id", Text),
    Column("submission_id", Text, index=True),
    Column("kind", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("webhook_id", Text),
    # The address of a mail.
    Column("recipient", Text),
    Column("details", Text),
    # What is attempted at most so many times at once: the id of a webhook, or "mail".
    Column("target", Text, nullable=False),
    Column("status", Text, nullable=False),
    # Attempts that ended; the next one is due at ``next_at``. While one is under way that is when
    # its claim ends, and others may take it over.
    Column("attempts", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("claim", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    # Of the last attempt: the status of HTTP or SMTP, and what went wrong.
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("replay_of", Text),
    Index("ix_deliveries_due", "target", "next_at", **_where("status = 'pending'")),
    Index("ix_deliveries_webhook_id_id", "webhook_id", "id", **_where("webhook_id IS NOT NULL")),
    Index("ix_deliveries_form_id_id", "form_id", "id", **_where("form_id IS NOT NULL")),
    Index("ix_deliveries_finished_at", "finished_at", **_where("finished_at IS NOT NULL")),
)

delivery_attempts = Table(
    "delivery_attempts",
    metadata,
    Column("delivery_id", Text, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True),
    # Not the attempt's number: what a crash interrupted is attempted again under the same one.
    Column("started_at", BigInteger, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    # The beginning of the answer.
    Column("answer", Text),
    Column("request_url", Text),
    # A JSON object, without the values of headers that carry credentials.
    Column("request_headers", Text),
)

# Whom a form has answered on a day: nobody is answered twice.
autoresponses = Table(
    "autoresponses",
    metadata,
    Column("form_id", Text, primary_key=True),
    # A digest of the address.
    Column("address", Text, primary_key=True),
    Column("day", Text, primary_key=True),
)

# Forms whose owners know that nothing comes any more.
form_silences = Table(
    "form_silences",
    metadata,
    Column("form_id", Text, primary_key=True),
    Column("silent_since", BigInteger, nullable=False),
    Column("told_at", BigInteger, nullable=False),
)

# Of a token only the digest is kept.
sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("token_hash", Text, primary_key=True),
    # Whom it signs in; null for the address of nobody yet, who is signed up.
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), index=True),
    Column("email", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("used_at", BigInteger),
    # Of whoever asked for it.
    Column("address", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_hash", Text, nullable=False, unique=True),
    # Whoever is removed has no session any more.
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    # However it is used.
    Column("expires_at", BigInteger, nullable=False, index=True),
    # Of the request that began it.
    Column("address", Text),
    Column("user_agent", Text),
    Column("ended_at", BigInteger),
    Index(None, "user_id", "id"),
)

# Which member somebody is to the identity provider. A member has one identity at a provider.
oidc_identities = Table(
    "oidc_identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "issuer"),
)

# What ties a session to the one at the provider.
oidc_sessions = Table(
    "oidc_sessions",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    # The provider's name of its session, if it names them.
    Column("sid", Text),
    # Sealed; null if the provider gave none. The provider is asked with it again then.
    Column("refresh_token", Text),
    Column("refresh_at", BigInteger),
    Index(None, "issuer", "subject"),
    Index(None, "issuer", "sid"),
    Index("ix_oidc_sessions_due", "refresh_at", **_where("refresh_at IS NOT NULL")),
)

# Digests of what is good once: the states of sign-ins, the ids of logout tokens.
oidc_used = Table(
    "oidc_used",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
