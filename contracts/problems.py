"""Every refusal the product can give, once: slug, status and title (RFC 9457)."""

from enum import Enum
from typing import Any


class Problem(Enum):
    """The closed set of refusals. The value is ``(slug, status, title)``."""

    BAD_BODY = ("bad-body", 400, "The request body cannot be read")
    BAD_IDEMPOTENCY_KEY = ("bad-idempotency-key", 400, "The idempotency key is malformed")
    UNAUTHORIZED = ("unauthorized", 401, "Authentication is required")
    QUOTA_EXCEEDED = ("quota-exceeded", 402, "The monthly quota is used up")
    FORM_NOT_LIVE = ("form-not-live", 403, "This form does not accept submissions")
    INVALID_KEY = ("invalid-key", 403, "The API key is not valid")
    INSUFFICIENT_SCOPE = ("insufficient-scope", 403, "The credential lacks a right")
    IP_NOT_ALLOWED = ("ip-not-allowed", 403, "The API key may not be used from this address")
    ORIGIN_NOT_ALLOWED = ("origin-not-allowed", 403, "This site may not post to this form")
    TURNSTILE_FAILED = ("turnstile-failed", 403, "The Turnstile check was not passed")
    FORM_NOT_FOUND = ("form-not-found", 404, "There is no such form")
    NOT_FOUND = ("not-found", 404, "There is nothing here")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The method is not allowed here")
    CONFLICT = ("conflict", 409, "The request conflicts with what is stored")
    BODY_TOO_LARGE = ("body-too-large", 413, "The request body is too large")
    FILE_TOO_LARGE = ("file-too-large", 413, "A file is too large")
    UPLOADS_NOT_ALLOWED = ("uploads-not-allowed", 413, "This form does not accept files")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported-media-type", 415, "The content type is not supported")
    VALIDATION_ERROR = ("validation-error", 422, "The request is not valid")
    IDEMPOTENCY_MISMATCH = (
        "idempotency-mismatch",
        422,
        "The idempotency key was used with another body",
    )
    RATE_LIMITED = ("rate-limited", 429, "Too many requests")
    INTERNAL = ("internal", 500, "Something went wrong on our side")
    UNAVAILABLE = ("unavailable", 503, "The service is temporarily unavailable")
    TURNSTILE_UNAVAILABLE = ("turnstile-unavailable", 503, "Turnstile cannot be reached")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title

    @classmethod
    def by_slug(cls, slug: str) -> "Problem":
        """The problem of that slug; ``INTERNAL`` for a slug of a newer version."""
        return _BY_SLUG.get(slug, cls.INTERNAL)


_BY_SLUG = {problem.slug: problem for problem in Problem}


class Rejected(Exception):
    """A refusal on its way to whoever renders it.

    ``detail`` is shown to the client: it names what is wrong and what to do, never a secret, a path
    or an internal host. ``members`` become extra members of the problem document; ``headers`` go
    on the answer (``Retry-After``, ``Allow``, ``WWW-Authenticate``).
    """

    def __init__(
        self,
        problem: Problem,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{problem.slug}: {detail}")
        self.problem = problem
        self.detail = detail
        self.headers = headers or {}
        self.members = members


def problem_document(rejected: Rejected, base: str) -> dict[str, Any]:
    """The ``application/problem+json`` members of a refusal; ``base`` prefixes ``type``.

    ``error`` repeats the detail and ``errors`` lists ``{field, code, message}``, the two members
    that Formspree's client libraries read.
    """
    problem = rejected.problem
    return {
        "type": f"{base}/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": rejected.detail,
        "error": rejected.detail,
        **rejected.members,
    }
