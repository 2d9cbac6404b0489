"""A small stand-in for the backend's internal surface, with switches for what can go wrong.

It keeps what it is sent. Anything unexpected is collected, and ``verify`` fails the test with it.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from contracts import internal
from contracts.forms import FormConfig, KeyGrant, QuotaState
from contracts.leases import Lease, LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Receipt, Submission
from contracts.usage import UsageReport

TOKEN = "an-internal-token-for-tests"


@dataclass
class MiniBackend:
    """The stand-in. Assign to its switches at any time."""

    forms: dict[str, FormConfig] = field(default_factory=dict)
    keys: dict[str, KeyGrant] = field(default_factory=dict)
    epoch: str = "epoch-1"
    revision: int = 1
    quota: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    questions: list[internal.IdempotencyQuestion] = field(default_factory=list)

    # What every answer to a batch that asks grants.
    leases: list[Lease] = field(default_factory=list)

    is_down: bool = False
    status: int | None = None
    refuse_with: str | None = None
    # A batch with one of these fails as a whole (500).
    fails_on: Callable[[Submission], bool] = field(default=lambda item: False)
    lookup_gate: asyncio.Event | None = None
    commit_gate: asyncio.Event | None = None
    answer_gate: asyncio.Event | None = None
    verify_gate: asyncio.Event | None = None
    drops_answers: int = 0
    drops_reports: int = 0
    takes_reports: bool = True
    undecodable: set[str] = field(default_factory=set)
    oldest_revision: int = 0
    is_feed_cut: bool = False

    calls: Counter[str] = field(default_factory=Counter)
    failed_batches: int = 0
    batches: list[list[Submission]] = field(default_factory=list)
    lookups: list[list[str]] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    key_questions: list[internal.KeyQuestion] = field(default_factory=list)
    statements: list[LeaseStatement] = field(default_factory=list)
    reports: list[UsageReport] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    public: list[Request] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stored: dict[str, int] = field(default_factory=dict)
    _bound: dict[tuple[str, str], Submission] = field(default_factory=dict)
    _changes: list[tuple[int, str, FormConfig | None]] = field(default_factory=list)
    _ended: list[tuple[int, str]] = field(default_factory=list)

    @property
    def submissions(self) -> list[Submission]:
        """Everything that was committed, in order."""
        return [item for batch in self.batches for item in batch]

    def change(self, slug: str, form: FormConfig | None) -> None:
        """Changes or deletes a form, as the feed will tell."""
        self.revision += 1
        if form is None:
            del self.forms[slug]
        else:
            self.forms[slug] = form
        self._changes.append((self.revision, slug, form))
        self._wake()

    def revoke(self, text: str) -> None:
        """Revokes a key, as the feed will tell."""
        self.revision += 1
        self._ended.append((self.revision, self.keys.pop(text).key_id))
        self._wake()

    def change_key(self, text: str, grant: KeyGrant) -> None:
        """Changes what a key may, as the feed will tell."""
        self.revision += 1
        self.keys[text] = grant
        self._ended.append((self.revision, grant.key_id))
        self._wake()

    def restore(self, epoch: str) -> None:
        """Starts a new epoch, as a restored backup does."""
        self.epoch = epoch
        self._wake()

    def restore_without(self, submission_id: str, epoch: str) -> None:
        """Restores a backup that lacks a submission."""
        del self._stored[submission_id]
        self._bound = {key: item for key, item in self._bound.items() if item.id != submission_id}
        self.batches = [
            [item for item in batch if item.id != submission_id] for batch in self.batches
        ]
        self.restore(epoch)

    def beat(self) -> None:
        """Lets the waiting poll be answered, as happens every five seconds."""
        self._wake()

    def go_away(self) -> None:
        """Ends the waiting polls, too; ``is_down = False`` brings the backend back."""
        self.is_down = True
        self._wake()

    def cut_feed(self) -> None:
        """Breaks every poll, while everything else is answered."""
        self.is_feed_cut = True
        self._wake()

    def transport(self) -> httpx.AsyncBaseTransport:
        """The network between a gateway and this backend."""
        return httpx.ASGITransport(self._app())

    def verify(self) -> None:
        """Fails if anything unexpected was asked."""
        assert self.unexpected == []

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _app(self) -> "_Switched":
        routes = [
            Route(internal.SUBMISSIONS, self._commit, methods=["POST"]),
            Route(internal.LOOKUP, self._look_up, methods=["POST"]),
            Route(internal.IDEMPOTENCY, self._find_receipt, methods=["POST"]),
            Route(internal.FILES + "/{key:path}", self._put_file, methods=["PUT"]),
            Route(internal.LEASES, self._take_statement, methods=["POST"]),
            Route(internal.VERIFY_KEY, self._verify_key, methods=["POST"]),
            Route(internal.CHANGES, self._feed, methods=["GET"]),
            Route(internal.USAGE, self._take_report, methods=["POST"]),
            Route("/v1/{path:path}", self._public, methods=["GET", "POST"]),
        ]
        return _Switched(self, Starlette(routes=routes))

    async def _commit(self, request: Request) -> Response:
        asked = internal.decode_asking_batch(await request.body())
        batch, leases = asked.items, self.leases if asked.asker is not None else []
        if self.commit_gate is not None:
            await self.commit_gate.wait()
        if any(map(self.fails_on, batch)):
            self.failed_batches += 1
            return Response(status_code=500)
        results = [self._result(item) for item in batch]
        stored = {result.id for result in results if result.status is ItemStatus.STORED}
        self.batches.append([item for item in batch if item.id in stored])
        if self.answer_gate is not None:
            await self.answer_gate.wait()
        if self.drops_answers:
            self.drops_answers -= 1
            raise httpx.ReadError("connection reset")
        return Response(internal.encode_results(results, leases))

    def _result(self, item: Submission) -> ItemResult:
        if self.refuse_with is not None:
            return ItemResult(ItemStatus.REJECTED, item.id, item.received_at, self.refuse_with)
        if item.id in self._stored:
            return ItemResult(ItemStatus.REPLAYED, item.id, self._stored[item.id])
        if item.idempotency_key is not None:
            first = self._bound.setdefault((item.form_id, item.idempotency_key), item)
            if first is not item:
                is_mismatch = first.fingerprint != item.fingerprint
                return ItemResult(
                    ItemStatus.REPLAYED, first.id, first.received_at, is_mismatch=is_mismatch
                )
        if self.quota is not None and len(self._stored) >= self.quota:
            state = QuotaState(self.quota, self.quota, item.received_at + 86_400_000)
            return ItemResult(
                ItemStatus.REJECTED, item.id, item.received_at, "quota-exceeded", quota=state
            )
        self._stored[item.id] = item.received_at
        return ItemResult(ItemStatus.STORED, item.id, item.received_at)

    async def _take_statement(self, request: Request) -> Response:
        statement = internal.decode_statement(await request.body())
        self.statements.append(statement)
        return Response(internal.encode_session(statement.session))

    async def _take_report(self, request: Request) -> Response:
        if not self.takes_reports:
            return Response(status_code=404)
        self.reports.append(internal.decode_usage_report(await request.body()))
        if self.drops_reports:
            self.drops_reports -= 1
            raise httpx.ReadTimeout("no answer")
        return Response(b"{}")

    async def _find_receipt(self, request: Request) -> Response:
        question = internal.decode_idempotency_question(await request.body())
        self.questions.append(question)
        first = self._bound.get((question.form_id, question.key))
        if first is None:
            return Response(internal.encode_receipt(None))
        is_mismatch = first.fingerprint != question.fingerprint
        receipt = Receipt(first.id, first.form_id, first.received_at, True, is_mismatch)
        return Response(internal.encode_receipt(receipt))

    async def _put_file(self, request: Request) -> Response:
        content, headers = await request.body(), request.headers
        found = (str(len(content)), hashlib.sha256(content).hexdigest())
        if found != (headers["content-length"], headers["x-content-sha256"]):
            return Response(status_code=400)
        self.files[request.path_params["key"]] = content
        return Response(b"{}")

    async def _look_up(self, request: Request) -> Response:
        slugs = internal.decode_slugs(await request.body())
        self.lookups.append(slugs)
        revision = self.revision
        found = {slug: self.forms.get(slug) for slug in slugs}
        if self.lookup_gate is not None:
            await self.lookup_gate.wait()
        answer = internal.LookupAnswer(self.epoch, revision, found)
        return Response(self._spoilt(internal.encode_lookup(answer)))

    async def _verify_key(self, request: Request) -> Response:
        question = internal.decode_key(await request.body())
        text = question.text
        self.key_questions.append(question)
        self.verified.append(text)
        answer = internal.VerifyAnswer(self.epoch, self.revision, self.keys.get(text))
        if self.verify_gate is not None:
            await self.verify_gate.wait()
        return Response(internal.encode_verify(answer))

    async def _feed(self, request: Request) -> Response:
        since = int(request.query_params["since"])
        if self._follows(request) and since >= self.revision and not self.is_feed_cut:
            await self._changed.wait()
        if self.is_feed_cut or self.is_down:
            raise httpx.ReadError("connection reset")
        is_known = self._follows(request)
        forms = {slug: form for revision, slug, form in self._changes if revision > since}
        ended = tuple(key for revision, key in self._ended if revision > since)
        answer = internal.ChangesAnswer(
            self.epoch, self.revision, not is_known, forms if is_known else {}, ended
        )
        return Response(self._spoilt(internal.encode_changes(answer)))

    def _follows(self, request: Request) -> bool:
        since = int(request.query_params["since"])
        return request.query_params["epoch"] == self.epoch and since >= self.oldest_revision

    def _spoilt(self, body: bytes) -> bytes:
        """The answer, with a status that no gateway knows in the forms of ``undecodable``."""
        document = orjson.loads(body)
        for slug in self.undecodable & document["forms"].keys():
            document["forms"][slug]["status"] = "archived"
        return orjson.dumps(document)

    async def _public(self, request: Request) -> Response:
        await request.body()
        self.public.append(request)
        return JSONResponse({"path": request.url.path}, headers={"x-from": "backend"})


class _Switched:
    """Applies the switches that act before any route."""

    def __init__(self, backend: MiniBackend, app: Starlette) -> None:
        self._backend = backend
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backend = self._backend
        backend.calls[scope["path"]] += 1
        if backend.is_down:
            raise httpx.ConnectError("connection refused")
        request = Request(scope)
        is_internal = scope["path"].startswith(internal.BASE)
        if is_internal and request.headers.get("authorization") != f"Bearer {TOKEN}":
            backend.unexpected.append(f"no token: {scope['path']}")
        if backend.status is not None:
            await Response(status_code=backend.status)(scope, receive, send)
            return
        await self._app(scope, receive, send)
