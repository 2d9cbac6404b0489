"""The ingest endpoint, ``POST /v1/f/:slug``: a post's whole way, top to bottom.

A raw ASGI callable that stands in front of the Starlette app, whose request and response objects
would cost more than all the checks together.
"""

import itertools
import os

import orjson
from starlette.types import Receive, Scope, Send

from contracts.forms import FormConfig, KeyGrant
from contracts.ids import new_id
from contracts.outcomes import Outcome
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from contracts.submissions import Receipt, Submission, SubmissionStatus
from gateway.answers import PREFLIGHT, Answer, receipt_answer, refusal_answer, send_answer
from gateway.bodies import Body, BodyLimits, ClientDisconnected, read_body
from gateway.forms import FormCache
from gateway.forwarder import Forwarder
from gateway.keys import KeyCache
from gateway.posts import Post, PostReader
from gateway.redirects import next_url

PREFIX = "/v1/f/"
_TURNSTILE_FIELD = "cf-turnstile-response"
_NEXT_FIELD = "_next"


class Ingest:
    """The endpoint. Every post ends in exactly one outcome and one log line."""

    def __init__(
        self,
        *,
        clock: Clock,
        reader: PostReader,
        forms: FormCache,
        keys: KeyCache,
        forwarder: Forwarder,
        limits: BodyLimits,
        problem_base: str,
    ) -> None:
        self._clock = clock
        self._reader = reader
        self._forms = forms
        self._keys = keys
        self._forwarder = forwarder
        self._limits = limits
        self._problem_base = problem_base
        self._log = get_logger("gateway")
        self._request_ids = map(f"{os.urandom(6).hex()}-{{:x}}".format, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = self._clock.monotonic()
        post = self._reader.read(scope, next(self._request_ids), self._clock.now_ms())
        if post.method == "OPTIONS":
            await send_answer(send, PREFLIGHT, post.request_id)
            return
        try:
            outcome, answer = await self._answer(post, receive)
        except ClientDisconnected:
            self._write_line(post, Outcome.DISCONNECTED, started)
            return
        await send_answer(send, answer, post.request_id)
        self._write_line(post, outcome, started)

    async def _answer(self, post: Post, receive: Receive) -> tuple[Outcome, Answer]:
        try:
            outcome, receipt, target = await self.accept(post, receive)
            return outcome, receipt_answer(post, receipt, target)
        except Rejected as rejected:
            refusal = rejected
        except ClientDisconnected:
            raise
        except Exception:
            self._log.exception("post failed", request_id=post.request_id)
            refusal = Rejected(
                Problem.INTERNAL,
                f"Something went wrong on our side. Try again; if it stays, name the request id "
                f"{post.request_id} to the operator.",
            )
        return Outcome.of(refusal.problem), refusal_answer(post, refusal, self._problem_base)

    async def accept(self, post: Post, receive: Receive) -> tuple[Outcome, Receipt, str | None]:
        """The checks in their order, then the commit. Returns the outcome, what to acknowledge and
        where a browser goes next. Raises Rejected, ClientDisconnected."""
        check_method(post)
        form = await self._forms.resolve(post.slug)
        caller = await self._keys.authenticate(post.headers.get(b"authorization"), form)
        body = post.body = await self._read_body(post, receive)
        target = next_url(form, _text_of(body, _NEXT_FIELD))
        status = SubmissionStatus.SPAM if is_trapped(body, form) else SubmissionStatus.RECEIVED
        submission = self._submission(post, form, caller, body, status)
        receipt = await self._forwarder.accept(submission)
        return _outcome(receipt, status), receipt, target

    async def _read_body(self, post: Post, receive: Receive) -> Body:
        return await read_body(
            receive,
            content_type=post.headers.get(b"content-type"),
            content_length=post.content_length,
            content_encoding=post.headers.get(b"content-encoding"),
            limits=self._limits,
        )

    def _submission(
        self,
        post: Post,
        form: FormConfig,
        caller: KeyGrant | None,
        body: Body,
        status: SubmissionStatus,
    ) -> Submission:
        return Submission(
            id=new_id("sub", post.received_at),
            form_id=form.id,
            received_at=post.received_at,
            status=status.value,
            payload=orjson.dumps(payload_of(body, form)).decode(),
            meta=orjson.dumps(post.meta).decode(),
            key_id=caller.key_id if caller else None,
        )

    def _write_line(self, post: Post, outcome: Outcome, started: float) -> None:
        self._log.info(
            "post",
            request_id=post.request_id,
            slug=post.slug[:64],
            outcome=outcome.value,
            duration_ms=round((self._clock.monotonic() - started) * 1000, 2),
        )


def check_method(post: Post) -> None:
    """Only a POST posts. Raises Rejected."""
    if post.method != "POST":
        raise Rejected(
            Problem.METHOD_NOT_ALLOWED,
            'Send the form with POST (method="post").',
            headers={"Allow": "POST, OPTIONS"},
        )


def is_trapped(body: Body, form: FormConfig) -> bool:
    """Whether the honeypot, which people do not see, was filled in."""
    return form.honeypot_field is not None and bool(body.fields.get(form.honeypot_field))


def payload_of(body: Body, form: FormConfig) -> dict[str, str | list[str]]:
    """The visitor's fields, control fields removed."""
    control = (form.honeypot_field, _TURNSTILE_FIELD, _NEXT_FIELD)
    return {name: value for name, value in body.fields.items() if name not in control}


def _text_of(body: Body, name: str) -> str | None:
    value = body.fields.get(name)
    return value if isinstance(value, str) else None


def _outcome(receipt: Receipt, status: SubmissionStatus) -> Outcome:
    if receipt.is_replay:
        return Outcome.REPLAYED
    return Outcome.SPAM if status is SubmissionStatus.SPAM else Outcome.STORED
