"""What became of a post: exactly one of these, for the answer, the log line and the counters."""

from enum import Enum

from contracts.problems import Problem


class Outcome(Enum):
    """The closed set of ends of a post. The value labels log lines and counters."""

    STORED = "stored"
    SPAM = "spam"
    HELD = "held"
    QUEUED = "queued"
    REPLAYED = "replayed"

    BAD_BODY = "bad-body"
    BAD_IDEMPOTENCY_KEY = "bad-idempotency-key"
    UNAUTHORIZED = "unauthorized"
    QUOTA_EXCEEDED = "quota-exceeded"
    FORM_NOT_LIVE = "form-not-live"
    INVALID_KEY = "invalid-key"
    INSUFFICIENT_SCOPE = "insufficient-scope"
    IP_NOT_ALLOWED = "ip-not-allowed"
    ORIGIN_NOT_ALLOWED = "origin-not-allowed"
    TURNSTILE_FAILED = "turnstile-failed"
    FORM_NOT_FOUND = "form-not-found"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CONFLICT = "conflict"
    BODY_TOO_LARGE = "body-too-large"
    FILE_TOO_LARGE = "file-too-large"
    UPLOADS_NOT_ALLOWED = "uploads-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    VALIDATION_ERROR = "validation-error"
    IDEMPOTENCY_MISMATCH = "idempotency-mismatch"
    RATE_LIMITED = "rate-limited"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"
    TURNSTILE_UNAVAILABLE = "turnstile-unavailable"

    DISCONNECTED = "disconnected"

    @classmethod
    def of(cls, problem: Problem) -> "Outcome":
        """The outcome of a post that was refused with this problem."""
        return cls(problem.slug)
