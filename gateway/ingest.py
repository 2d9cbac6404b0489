"""The ingest endpoint, ``POST /v1/f/:slug``: a post's whole way, top to bottom.

A raw ASGI callable that stands in front of the Starlette app, whose request and response objects
would cost more than all the checks together.
"""

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson
from starlette.types import Receive, Scope, Send

from contracts.forms import FormConfig, FormStatus, KeyGrant
from contracts.idempotency import read_key
from contracts.ids import new_id
from contracts.outcomes import Outcome
from contracts.probes import PROBE_HEADER, ProbeTokens
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock
from contracts.runtime.ratelimit import RateLimiter, key_rules, visitor_rules
from contracts.runtime.telemetry import get_logger
from contracts.submissions import Receipt, Submission, SubmissionStatus
from gateway.answers import (
    PREFLIGHT,
    SHOWS_TEXT_BACK,
    Answer,
    receipt_answer,
    refusal_answer,
    send_answer,
)
from gateway.challenge import Challenge, ChallengeVerdict
from gateway.config.forms import FormCache
from gateway.config.keys import KeyCache
from gateway.control_fields import TURNSTILE_FIELD, asked_next, is_trapped, payload_of
from gateway.declared_fields import DeclaredFields, Violation, refusal
from gateway.forwarder import Forwarder
from gateway.idempotency import Idempotency, fingerprint_of
from gateway.origins import check_origin
from gateway.parsing.bodies import ClientDisconnected, read_body
from gateway.parsing.fields import Body, BodyLimits
from gateway.posts import Post, PostReader
from gateway.quota import QuotaCache
from gateway.redirects import next_url
from gateway.uploads import Staging, Upload, check_uploads, name_files
from gateway.upstream import unavailable
from gateway.usage import UsageReporter

PREFIX = "/v1/f/"
_PERHAPS_REPLAYED = frozenset({Problem.TURNSTILE_FAILED, Problem.VALIDATION_ERROR})


@dataclass(frozen=True, slots=True)
class Parts:
    """What the endpoint works with."""

    clock: Clock
    reader: PostReader
    forms: FormCache
    keys: KeyCache
    probes: ProbeTokens
    limiter: RateLimiter
    staging: Staging
    idempotency: Idempotency
    declared: DeclaredFields
    quota: QuotaCache
    challenge: Challenge
    forwarder: Forwarder
    usage: UsageReporter
    limits: BodyLimits
    problem_base: str


@dataclass(slots=True)
class Draft:
    """A post that passed the checks which every post passes, about to become a submission."""

    post: Post
    form: FormConfig
    caller: KeyGrant | None
    body: Body
    payload: dict[str, str | list[str]]
    violations: Sequence[Violation] = ()
    key: str | None = None
    fingerprint: str | None = None

    @property
    def next_url(self) -> str | None:
        """Where a browser goes after the success."""
        return next_url(self.form, asked_next(self.body))


@dataclass(slots=True)
class Accepted:
    """A success: its outcome, what to acknowledge, and where a browser goes next."""

    outcome: Outcome
    receipt: Receipt
    next_url: str | None


class Ingest:
    """The endpoint. Every post ends in exactly one outcome, one count and one log line."""

    def __init__(self, parts: Parts) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._parts = parts
        self._log = get_logger("gateway").bind()
        self._request_ids = map(f"{os.urandom(6).hex()}-{{:x}}".format, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        started = self._parts.clock.monotonic()
        post = self._parts.reader.read(scope, next(self._request_ids))
        if post.method == "OPTIONS":
            await send_answer(send, PREFLIGHT, post)
            return
        try:
            outcome, answer = await self._answer(post, receive)
            await send_answer(send, answer, post)
        except ClientDisconnected:
            outcome = Outcome.DISCONNECTED
        finally:
            if post.body is not None:
                post.body.discard()
        self.outcomes[outcome] += 1
        if post.account_id is not None:
            self._parts.usage.count(post.account_id, post.received_at, outcome)
        self._write_line(post, outcome, started)

    async def accept(self, post: Post, receive: Receive) -> Accepted:
        """The checks in their order, then the commit. Raises Rejected, ClientDisconnected."""
        parts = self._parts
        check_method(post)
        form = await parts.forms.resolve(post.slug)
        post.account_id = form.account_id
        check_live(form)
        post.trace.mark("form", "live")
        authorization = post.headers.get(b"authorization")
        caller = await parts.keys.authenticate(authorization, form, post.client)
        post.trace.mark("key", "valid" if caller else "anonymous")
        self._recognise_probe(post, form)
        await self._admit(post, form, caller)
        parts.forwarder.check_room()
        key = read_key(post.headers.get(b"idempotency-key"))
        body = post.body = await self._read_body(post, receive, form)
        post.trace.mark("body", "read")
        self._check_origin(post, form)
        draft = Draft(post, form, caller, body, payload_of(body, form))
        if form.fields:
            draft.violations = parts.declared.violations(form, draft.payload, body.files)
        if key is None:
            return await self._judge(draft)
        return await self._judge_once(draft, key)

    async def _judge_once(self, draft: Draft, key: str) -> Accepted:
        """As ``_judge``, for the first post with the key; the others get its receipt."""
        parts, form = self._parts, draft.form
        draft.key = key
        draft.fingerprint = fingerprint_of(draft.payload, draft.body.files)
        asks_early = (
            form.turnstile is not None or parts.quota.is_used_up(form) or bool(draft.violations)
        )
        async with parts.idempotency.claim(
            form, key, draft.fingerprint, asks_early=asks_early
        ) as claim:
            if claim.earlier is not None:
                return Accepted(Outcome.REPLAYED, claim.earlier, draft.next_url)
            draft.post.trace.mark("idempotency", "first")
            try:
                accepted = await self._judge(draft)
            except Rejected as rejected:
                if claim.is_unsure and rejected.problem in _PERHAPS_REPLAYED:
                    # The first post may have spent the token, or come under other declared fields.
                    raise unavailable("This post cannot be judged right now.") from rejected
                raise
            claim.bind(accepted.receipt)
            return accepted

    async def _judge(self, draft: Draft) -> Accepted:
        """The checks that a replay skips, then the commit."""
        body, form, trace = draft.body, draft.form, draft.post.trace
        if is_trapped(body, form):
            trace.mark("honeypot", "trapped")
            return await self._commit(draft, SubmissionStatus.SPAM, ())
        trace.mark("honeypot", "clear" if form.honeypot_field else "off")
        check_uploads(body.files, form.file_bytes)
        trace.mark("uploads", "accepted" if body.files else "none")
        if draft.violations:
            raise refusal(form, draft.violations)
        if form.fields:
            trace.mark("fields", "valid")
        self._parts.quota.check(form)
        trace.mark("quota", "open")
        status = await self._challenge(draft)
        try:
            return await self._commit(draft, status, body.files)
        except Rejected:
            self._parts.challenge.give_back(body.fields.get(TURNSTILE_FIELD), form.id)
            raise

    async def _commit(
        self, draft: Draft, status: SubmissionStatus, uploads: Sequence[Upload]
    ) -> Accepted:
        parts, post = self._parts, draft.post
        submission_id = new_id("sub", post.received_at)
        submission = Submission(
            id=submission_id,
            form_id=draft.form.id,
            received_at=post.received_at,
            status=status.value,
            payload=orjson.dumps(draft.payload).decode(),
            meta=orjson.dumps(post.meta).decode(),
            trace=post.trace.encode(),
            key_id=draft.caller.key_id if draft.caller else None,
            idempotency_key=draft.key,
            fingerprint=draft.fingerprint,
            files=name_files(draft.form.id, submission_id, post.received_at, uploads),
        )
        receipt = await parts.forwarder.accept(submission, draft.form, uploads)
        return Accepted(_outcome(receipt, status), receipt, draft.next_url)

    def _recognise_probe(self, post: Post, form: FormConfig) -> None:
        """A probe comes from no page: it has no origin and no Turnstile token, and its rate is not
        a visitor's. Everything else is checked; without a good token it is a post like others."""
        token = post.headers.get(PROBE_HEADER)
        if token is not None and self._parts.probes.is_valid(token, form.id, post.received_at):
            post.is_probe = True
            post.trace.mark("probe", "valid")

    async def _admit(self, post: Post, form: FormConfig, caller: KeyGrant | None) -> None:
        if caller is None and post.is_probe:
            return
        if caller is None:
            rules = visitor_rules(form.id, post.client, form.rate_limit_per_minute)
        else:
            rules = key_rules(caller.key_id, caller.rate_limit_per_minute, caller.burst)
        rate = post.rate = await self._parts.limiter.admit(rules)
        if not rate.is_admitted:
            seconds = rate.retry_after_seconds
            raise Rejected(
                Problem.RATE_LIMITED,
                f"More than {rate.limit} posts in {rate.window_seconds} s. "
                f"Try again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
                retry_after=seconds,
            )
        post.trace.mark("rate limit", "admitted")

    async def _read_body(self, post: Post, receive: Receive, form: FormConfig) -> Body:
        return await read_body(
            receive,
            content_type=post.headers.get(b"content-type"),
            content_length=post.content_length,
            content_encoding=post.headers.get(b"content-encoding"),
            limits=self._parts.limits.with_file_bytes(form.file_bytes),
            staging=self._parts.staging,
        )

    def _check_origin(self, post: Post, form: FormConfig) -> None:
        if form.allowed_origins and not post.is_probe:
            post.allowed_origin = check_origin(
                post.headers.get(b"origin"), post.headers.get(b"referer"), form.allowed_origins
            )
            post.trace.mark("origin", "allowed")

    async def _challenge(self, draft: Draft) -> SubmissionStatus:
        """The last check: a token is single-use, and a post that fails anyway must not burn it."""
        turnstile, trace = draft.form.turnstile, draft.post.trace
        if turnstile is None:
            return SubmissionStatus.RECEIVED
        if draft.post.is_probe or (draft.caller is not None and turnstile.skip_with_key):
            trace.mark("turnstile", "skipped")
            return SubmissionStatus.RECEIVED
        token = draft.body.fields.get(TURNSTILE_FIELD)
        verdict = await self._parts.challenge.verify(
            token, turnstile, draft.post.client, draft.form.id
        )
        trace.mark("turnstile", verdict.value)
        is_held = verdict is ChallengeVerdict.HELD
        return SubmissionStatus.HELD if is_held else SubmissionStatus.RECEIVED

    async def _answer(self, post: Post, receive: Receive) -> tuple[Outcome, Answer]:
        try:
            accepted = await self.accept(post, receive)
            return accepted.outcome, receipt_answer(post, accepted.receipt, accepted.next_url)
        except Rejected as rejected:
            # Not its traceback, which holds this frame and so the body, until a collection.
            refusal = rejected.with_traceback(None)
        except ClientDisconnected:
            raise
        except Exception:
            self._log.exception("post failed", request_id=post.request_id)
            refusal = Rejected(
                Problem.INTERNAL,
                "Something went wrong on our side. Try again; if it stays, name the request id "
                f"{post.request_id} to the operator.",
            )
        await self._keep_text(post, receive, refusal)
        answer = refusal_answer(post, refusal, self._parts.problem_base)
        return Outcome.of(refusal.problem), answer

    async def _keep_text(self, post: Post, receive: Receive, refusal: Rejected) -> None:
        """Reads the body of a browser that was refused before it, so that its text is not lost."""
        is_early = post.body is None and refusal.problem in SHOWS_TEXT_BACK
        if is_early and not post.has_long_body and not post.is_from_program:
            with suppress(Rejected):
                post.body = await read_body(
                    receive,
                    content_type=post.headers.get(b"content-type"),
                    content_length=post.content_length,
                    content_encoding=post.headers.get(b"content-encoding"),
                    limits=self._parts.limits,
                    staging=self._parts.staging,
                )

    def _write_line(self, post: Post, outcome: Outcome, started: float) -> None:
        self._log.info(
            "post",
            request_id=post.request_id,
            slug=post.slug[:64],
            outcome=outcome.value,
            duration_ms=round((self._parts.clock.monotonic() - started) * 1000, 2),
        )


def _outcome(receipt: Receipt, status: SubmissionStatus) -> Outcome:
    if receipt.is_replay:
        return Outcome.REPLAYED
    return Outcome.QUEUED if receipt.is_queued else _OUTCOMES[status]


_OUTCOMES = {
    SubmissionStatus.RECEIVED: Outcome.STORED,
    SubmissionStatus.SPAM: Outcome.SPAM,
    SubmissionStatus.HELD: Outcome.HELD,
}


def check_method(post: Post) -> None:
    """Only a POST posts. Raises Rejected."""
    if post.method != "POST":
        raise Rejected(
            Problem.METHOD_NOT_ALLOWED,
            'Send the form with POST (method="post").',
            headers={"Allow": "POST, OPTIONS"},
        )


def check_live(form: FormConfig) -> None:
    """Only a live form takes posts. Raises Rejected."""
    if form.status is not FormStatus.LIVE:
        raise Rejected(
            Problem.FORM_NOT_LIVE,
            "This form is not taking submissions at the moment. Its owner can set it live.",
        )
