"""What a post is answered, to programs and to browsers, and the headers every answer carries."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from starlette.types import Send

from contracts.problems import Problem, Rejected, problem_document
from contracts.runtime.clock import iso
from contracts.runtime.rate_headers import rate_headers
from contracts.submissions import Receipt
from gateway.pages import CONTENT_SECURITY_POLICY, refusal_page, thank_you_page
from gateway.posts import Post

Header = tuple[bytes, bytes]

_EXPOSED = (
    "Retry-After, Idempotency-Mismatch, RateLimit, RateLimit-Policy, X-RateLimit-Limit, "
    "X-RateLimit-Remaining, X-RateLimit-Reset, Idempotency-Replayed, FormFlow-Queued"
)
_ALLOWED = (
    "Content-Type, Authorization, Idempotency-Key, X-Requested-With, Formspree-Client, "
    "Formspree-Session-Data"
)
_CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", _EXPOSED.encode()),
)
_PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", _ALLOWED.encode()),
    (b"access-control-max-age", b"86400"),
)
THANKS_PATH = "/thanks"
_JSON: Header = (b"content-type", b"application/json")
_PROBLEM: Header = (b"content-type", b"application/problem+json")
_HTML: tuple[Header, ...] = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
)
SHOWS_TEXT_BACK = frozenset(
    {
        Problem.QUOTA_EXCEEDED,
        Problem.RATE_LIMITED,
        Problem.TURNSTILE_UNAVAILABLE,
        Problem.UNAVAILABLE,
        Problem.VALIDATION_ERROR,
    }
)


@dataclass(slots=True)
class Answer:
    """A whole HTTP answer, but for the headers that every answer carries."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


_REPLAYED: tuple[Header, ...] = ((b"idempotency-replayed", b"true"),)
_QUEUED: tuple[Header, ...] = ((b"formflow-queued", b"true"),)
PREFLIGHT = Answer(204, _PREFLIGHT, b"")
THANK_YOU = Answer(200, _HTML, thank_you_page())


def receipt_answer(post: Post, receipt: Receipt, next_url: str | None) -> Answer:
    """The answer to a success: 200, or 202 where the backend does not have it yet."""
    status = 202 if receipt.is_queued else 200
    how = _how(receipt)
    if post.is_from_program:
        if next_url is None and post.is_from_formspree_client:
            next_url = post.origin + THANKS_PATH
        document = {
            "id": receipt.submission_id,
            "form_id": receipt.form_id,
            "received_at": iso(receipt.received_at),
            "ok": True,
            "next": next_url,
        }
        return Answer(status, (_JSON, *how), orjson.dumps(document))
    if next_url is not None:
        return Answer(303, ((b"location", next_url.encode("ascii")), *how), b"")
    return Answer(status, _HTML + how, THANK_YOU.body)


def _how(receipt: Receipt) -> tuple[Header, ...]:
    how = _REPLAYED if receipt.is_replay else ()
    if receipt.is_mismatch:
        how += ((b"idempotency-mismatch", b"true"),)
    return how + _QUEUED if receipt.is_queued else how


def refusal_answer(post: Post, rejected: Rejected, problem_base: str) -> Answer:
    """The answer to a refusal."""
    problem = rejected.problem
    headers = _encoded(rejected.headers)
    if post.body is None and post.has_long_body:
        headers += ((b"connection", b"close"),)
    if post.is_from_program:
        document = problem_document(rejected, problem_base)
        return Answer(problem.status, (_PROBLEM, *headers), orjson.dumps(document))
    fields = post.body.fields if post.body and problem in SHOWS_TEXT_BACK else None
    page = refusal_page(problem.status, problem.title, rejected.detail, fields)
    return Answer(problem.status, _HTML + headers, page)


async def send_answer(send: Send, answer: Answer, post: Post) -> None:
    """Sends it, with the headers that every answer carries."""
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [
                *answer.headers,
                *(_CORS if post.allowed_origin is None else _cors_of(post.allowed_origin)),
                *(rate_headers(post.rate) if post.rate is not None else ()),
                (b"x-request-id", post.request_id.encode()),
                (b"content-length", b"%d" % len(answer.body)),
            ],
        }
    )
    await send({"type": "http.response.body", "body": answer.body})


def _cors_of(origin: str) -> tuple[Header, ...]:
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"vary", b"Origin"),
        _CORS[1],
    )


def _encoded(headers: Mapping[str, str]) -> tuple[Header, ...]:
    return tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    )
