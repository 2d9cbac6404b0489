"""The endpoint of batches: a raw ASGI callable in front of the Starlette app, whose routing and
request and response objects cost a lone post a third of the backend's work."""

import hmac
import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from backend.answers import problem_response
from backend.internal.intake import Intake
from backend.metrics import CommitCounts
from contracts import internal
from contracts.problems import Problem, Rejected
from contracts.runtime.telemetry import get_logger

_log = get_logger("backend")


class BatchEndpoint:
    """``POST /internal/v1/submissions``, guarded by the internal token; all else is ``rest``'s."""

    def __init__(
        self,
        rest: ASGIApp,
        intake: Intake,
        token: str,
        problem_base: str,
        commits: CommitCounts | None = None,
    ) -> None:
        """What is committed is counted in ``commits``."""
        self._rest = rest
        self._commits = commits or CommitCounts()
        self._intake = intake
        self._expected = b"Bearer " + token.encode()
        self._problem_base = problem_base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["path"] == internal.SUBMISSIONS and scope["method"] == "POST":
            await self._answer(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check_token(scope)
            results = await self._commit(await _read(receive))
        except ClientDisconnect:
            return
        except Rejected as rejected:
            await problem_response(rejected, self._problem_base)(scope, receive, send)
            return
        except Exception:
            _log.exception("batch failed")
            failed = Rejected(Problem.INTERNAL, "The batch failed; the backend's log says why.")
            await problem_response(failed, self._problem_base)(scope, receive, send)
            return
        length = b"%d" % len(results)
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": results})

    def _check_token(self, scope: Scope) -> None:
        sent = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(sent, self._expected):
            raise Rejected(Problem.NOT_FOUND, "There is nothing at this address.")

    async def _commit(self, body: bytes) -> bytes:
        try:
            batch = internal.decode_asking_batch(body)
        except internal.UndecodableMessage as error:
            raise Rejected(Problem.BAD_BODY, str(error)) from None
        if len(batch.items) > internal.BATCH_ITEMS_MAX:
            most = f"a batch holds {internal.BATCH_ITEMS_MAX} at most"
            raise Rejected(Problem.BAD_BODY, most)
        started = time.monotonic()
        answer = await self._intake.answer(batch)
        self._commits.add(answer.results, time.monotonic() - started)
        return internal.encode_results(answer.results, answer.leases)


async def _read(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
