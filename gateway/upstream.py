"""The only client of the backend's internal surface."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from contracts import internal
from contracts.leases import LeaseStatement
from contracts.problems import Problem, Rejected
from contracts.runtime.endpoints import parse_peer
from contracts.small_files import CONTENT_TYPE, FILES_MAX, SMALL_FILE_BYTES, SmallFile, encode_files
from contracts.submissions import ItemResult, ItemStatus, Receipt, Submission
from contracts.usage import UsageReport
from gateway.batching import Batcher
from gateway.lean_http import Answer, BrokenConnection, LeanClient
from gateway.leases import LeaseBook

# Everything a post waits for ends within this time, so that its visitor gets an answer.
_DEADLINE_SECONDS = 5.0
# A batch may be sent twice, and the post may have to be spooled behind that.
BATCH_SECONDS = 2.0
_RETRY_AFTER_SECONDS = (3, 8)
# Of a call that both sides understand these are impossible: it is this one that is wrong.
_REFUSALS = {400, 413, 415, 422}
_FEED_SECONDS = internal.FEED_WAIT_SECONDS + 5.0
# A file is on its way to a bucket meanwhile; it waits for its turn, too, within this time.
_FILE_SECONDS = 60.0
_FILES_AT_ONCE = 8
# In memory, with 64 KiB each at most.
_SMALL_FILES_AT_ONCE = 256
# Shorter than the backend keeps an idle connection, so that it is not closed under a request.
_KEEP_ALIVE_SECONDS = 30.0
_LIMITS = httpx.Limits(max_connections=16, keepalive_expiry=_KEEP_ALIVE_SECONDS)
_JSON = "application/json"

# On uvloop anyio looks for the socket of a connection that was reset right after it was made, and
# finds None: an AttributeError, which httpx passes on.
NOT_SENT = (httpx.TransportError, AttributeError)


class UpstreamUnavailable(Exception):
    """The backend cannot be reached or cannot answer now."""


class UpstreamFailed(UpstreamUnavailable):
    """The backend answered that something unexpected happened there (500)."""


class UpstreamLacks(UpstreamUnavailable):
    """The backend has no such call (404): it is of an older version, or has another token."""


class UpstreamRefused(UpstreamUnavailable):
    """The backend does not take a call as it is; sending it again is of no use."""


class Content(Protocol):
    """The bytes of a file on its way: ``size`` of them, with that digest in hex."""

    @property
    def size(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, from the start at every call. Raises OSError."""


class Upstream:
    """Calls of the internal surface. Each raises UpstreamUnavailable.

    Every call may be repeated without harm: submissions carry their ids. So a call whose
    connection breaks is sent once more, on a fresh one.
    """

    def __init__(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """``url`` is what FORMFLOW_BACKEND_URL says; ``transport`` replaces the network."""
        backend = parse_peer(url)
        # Set by whoever keeps leases: batches then ask for some.
        self.leases: LeaseBook | None = None
        # Batches of which something was stored, whoever sent them.
        self.stored_batches = 0
        self._client = httpx.AsyncClient(
            base_url=backend.origin,
            transport=transport
            or httpx.AsyncHTTPTransport(uds=backend.socket_path, limits=_LIMITS, trust_env=False),
            headers={"authorization": f"Bearer {token}"},
            timeout=_DEADLINE_SECONDS,
            trust_env=False,
        )
        # Files leave connections for everything else.
        self._file_turns = asyncio.Semaphore(_FILES_AT_ONCE)
        self._small_file_turns = asyncio.Semaphore(_SMALL_FILES_AT_ONCE)
        self._batches: LeanClient | None = None
        self._small_files: Batcher[SmallFile, None] | None = None
        # A replaced transport, or TLS, takes the batches along, and each file by itself.
        if transport is None and backend.origin.startswith("http://"):
            authorization = {"Authorization": f"Bearer {token}"}
            self._batches = LeanClient(backend.origin, authorization, backend.socket_path)
            send = partial(self._put_small_files, self._batches)
            self._small_files = Batcher(send, items_max=FILES_MAX)

    async def commit(self, batch: Sequence[Submission]) -> Sequence[ItemResult]:
        """Stores a batch; one result an item, in order.

        A batch that the backend does not take is halved until the item that spoils it is alone:
        that one is rejected, the others are stored.
        """
        try:
            return await self._commit(batch)
        except UpstreamRefused:
            if not batch:
                raise
            if len(batch) > 1:
                middle = len(batch) // 2
                return [*await self.commit(batch[:middle]), *await self.commit(batch[middle:])]
            return [rejection(item) for item in batch]

    async def _commit(self, batch: Sequence[Submission]) -> Sequence[ItemResult]:
        asker, page = (self.leases.asker, self.leases.page) if self.leases else (None, 0)
        body = await self._post_batch(internal.encode_batch(batch, asker))
        answer = internal.decode_batch_answer(body)
        if len(answer.results) != len(batch):
            raise internal.UndecodableMessage(
                f"{len(answer.results)} results for {len(batch)} items"
            )
        if self.leases is not None:
            self.leases.learn(answer.leases, page)
        if any(result.status is ItemStatus.STORED for result in answer.results):
            self.stored_batches += 1
        return answer.results

    async def state_leases(self, statement: LeaseStatement) -> str:
        """Says what this gateway holds; the answer is its session as the backend knows it."""
        body = internal.encode_statement(statement)
        return internal.decode_session(await self._post(internal.LEASES, body))

    async def look_up(self, slugs: Sequence[str]) -> internal.LookupAnswer:
        """The forms of these slugs."""
        return internal.decode_lookup(
            await self._post(internal.LOOKUP, internal.encode_slugs(slugs))
        )

    async def verify_key(self, question: internal.KeyQuestion) -> internal.VerifyAnswer:
        """What a key may do. Raises also ``Rejected(RATE_LIMITED)`` if too many are being asked."""
        return internal.decode_verify(
            await self._post(internal.VERIFY_KEY, internal.encode_key(question))
        )

    async def find_receipt(self, question: internal.IdempotencyQuestion) -> Receipt | None:
        """The receipt of the submission that a key is bound to, or None."""
        body = internal.encode_idempotency_question(question)
        return internal.decode_receipt(await self._post(internal.IDEMPOTENCY, body))

    async def report_usage(self, report: UsageReport) -> None:
        """Has a report counted, once however often it is sent. Raises also UpstreamLacks."""
        await self._post(internal.USAGE, internal.encode_usage_report(report))

    async def changes(
        self,
        epoch: str,
        since: int,
        wait_seconds: int = internal.FEED_WAIT_SECONDS,
        gateway: internal.GatewayState | None = None,
    ) -> internal.ChangesAnswer:
        """What changed since that revision; waits so long for a change. ``gateway`` is what the
        backend learns of the asker."""
        query = {"epoch": epoch, "since": str(since), "wait": str(wait_seconds)}
        if gateway is not None:
            query |= internal.encode_gateway(gateway)
        return internal.decode_changes(
            await self._send("GET", internal.CHANGES, params=query, timeout=_FEED_SECONDS)
        )

    async def put_file(self, object_key: str, content: Content) -> None:
        """Stores a file; when it returns, the file is durable."""
        try:
            async with asyncio.timeout(_FILE_SECONDS):
                if not await self._put_with_others(object_key, content):
                    await self._put_alone(object_key, content)
        except TimeoutError as error:
            late = f"{object_key}: not stored in {_FILE_SECONDS} s"
            raise UpstreamUnavailable(late) from error

    async def _put_with_others(self, object_key: str, content: Content) -> bool:
        """Stores a small file in one call with others; False if it has to go alone."""
        if self._small_files is None or content.size > SMALL_FILE_BYTES:
            return False
        async with self._small_file_turns:
            data = b"".join([chunk async for chunk in content.chunks()])
            try:
                await self._small_files.submit(SmallFile(object_key, content.sha256, data))
            except UpstreamRefused:
                return False
        return True

    async def _put_small_files(
        self, client: LeanClient, files: Sequence[SmallFile]
    ) -> Sequence[None]:
        path, body = internal.FILES, encode_files(files)
        answer = await _post_twice(client, path, body, _FILE_SECONDS, CONTENT_TYPE)
        if answer.status == httpx.codes.NOT_FOUND:
            raise UpstreamRefused(f"{path}: this backend takes files one by one only")
        _check_status(answer.status, path)
        return [None] * len(files)

    async def _put_alone(self, object_key: str, content: Content) -> None:
        path = f"{internal.FILES}/{quote(object_key)}"
        headers = {"content-length": str(content.size), "x-content-sha256": content.sha256}
        async with self._file_turns:
            await self._send(
                "PUT", path, content=_Body(content), headers=headers, timeout=_FILE_SECONDS
            )

    async def close(self) -> None:
        """Closes the connections."""
        if self._batches is not None:
            await self._batches.close()
        await self._client.aclose()

    async def _post_batch(self, body: bytes) -> bytes:
        path, client = internal.SUBMISSIONS, self._batches
        if client is None:
            return await self._post(path, body)
        answer = await _post_twice(client, path, body, BATCH_SECONDS)
        _check_status(answer.status, path)
        return answer.body

    async def _post(self, path: str, body: bytes) -> bytes:
        return await self._send("POST", path, content=body)

    async def _send(self, method: str, path: str, **arguments: Any) -> bytes:
        try:
            try:
                response = await self._client.request(method, path, **arguments)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                response = await self._client.request(method, path, **arguments)
        except NOT_SENT as error:
            raise UpstreamUnavailable(f"{path}: {error!r}") from error
        return _checked(response)


async def _post_twice(
    client: LeanClient, path: str, body: bytes, timeout_seconds: float, content_type: str = _JSON
) -> Answer:
    try:
        try:
            return await client.post(path, body, timeout_seconds, content_type)
        except BrokenConnection:
            return await client.post(path, body, timeout_seconds, content_type)
    except (OSError, TimeoutError) as error:
        raise UpstreamUnavailable(f"{path}: {error!r}") from error


class _Body:
    """The bytes of a file, from the start for every attempt to send them."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._content.chunks()


def _checked(response: httpx.Response) -> bytes:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Rejected(
            Problem.RATE_LIMITED,
            "Too many keys are being checked right now. Try again in a moment.",
            headers={"Retry-After": response.headers.get("retry-after", "1")},
        )
    _check_status(response.status_code, response.request.url.path)
    return response.content


def _check_status(status: int, path: str) -> None:
    if status in _REFUSALS:
        raise UpstreamRefused(f"{path}: status {status}")
    if status == httpx.codes.INTERNAL_SERVER_ERROR:
        raise UpstreamFailed(f"{path}: status {status}")
    if status == httpx.codes.NOT_FOUND:
        raise UpstreamLacks(f"{path}: status {status}")
    if status != httpx.codes.OK:
        raise UpstreamUnavailable(f"{path}: status {status}")


def rejection(item: Submission) -> ItemResult:
    """The result of an item that the backend cannot take, which is a bug on one of the sides."""
    return ItemResult(ItemStatus.REJECTED, item.id, item.received_at, Problem.INTERNAL.slug)


def unavailable(detail: str) -> Rejected:
    """The refusal of a post while the backend is away; those refused at once do not all come back
    at once."""
    seconds = random.randint(*_RETRY_AFTER_SECONDS)  # noqa: S311 -- jitter
    return Rejected(Problem.UNAVAILABLE, detail, headers={"Retry-After": str(seconds)})
