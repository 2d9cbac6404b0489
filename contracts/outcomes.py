"""What became of a post: exactly one of these, for the answer, the log line and the counters."""

from enum import Enum

from contracts.problems import Problem


class Outcome(Enum):
    """The closed set of ends of a post. The value labels log lines and counters."""

    STORED = "stored"
    SPAM = "spam"
    REPLAYED = "replayed"

    BAD_BODY = "bad-body"
    UNAUTHORIZED = "unauthorized"
    FORM_NOT_LIVE = "form-not-live"
    INVALID_KEY = "invalid-key"
    INSUFFICIENT_SCOPE = "insufficient-scope"
    FORM_NOT_FOUND = "form-not-found"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CONFLICT = "conflict"
    BODY_TOO_LARGE = "body-too-large"
    UPLOADS_NOT_ALLOWED = "uploads-not-allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    VALIDATION_ERROR = "validation-error"
    RATE_LIMITED = "rate-limited"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"

    DISCONNECTED = "disconnected"

    @classmethod
    def of(cls, problem: Problem) -> "Outcome":
        """The outcome of a post that was refused with this problem."""
        return cls(problem.slug)
