"""The only client of the backend's internal surface."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from contracts import internal
from contracts.problems import Problem, Rejected
from contracts.submissions import ItemResult, Receipt, Submission
from gateway.lean_http import BrokenConnection, LeanClient
from gateway.staging import Upload

# Everything a post waits for ends within this time, so that its visitor gets an answer.
_DEADLINE_SECONDS = 5.0
_FEED_SECONDS = internal.FEED_WAIT_SECONDS + 5.0
# A file is on its way to a bucket meanwhile; it waits for its turn, too, within this time.
_FILE_SECONDS = 60.0
_FILES_AT_ONCE = 8
# Shorter than the backend keeps an idle connection, so that it is not closed under a request.
_KEEP_ALIVE_SECONDS = 30.0


class UpstreamUnavailable(Exception):
    """The backend cannot be reached or cannot answer now."""


class Upstream:
    """Calls of the internal surface. Each raises UpstreamUnavailable.

    Every call may be repeated without harm: submissions carry their ids. So a call whose
    connection breaks is sent once more, on a fresh one.
    """

    def __init__(
        self, base_url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            headers={"authorization": f"Bearer {token}"},
            timeout=_DEADLINE_SECONDS,
            limits=httpx.Limits(max_connections=16, keepalive_expiry=_KEEP_ALIVE_SECONDS),
            trust_env=False,
        )
        # A replaced transport, or TLS, takes the batches along.
        is_plain = transport is None and base_url.startswith("http://")
        authorization = {"Authorization": f"Bearer {token}"}
        self._batches = LeanClient(base_url, authorization) if is_plain else None
        # Files leave connections for everything else.
        self._file_turns = asyncio.Semaphore(_FILES_AT_ONCE)

    async def commit(self, batch: Sequence[Submission]) -> Sequence[ItemResult]:
        """Stores a batch; one result an item, in order."""
        body = await self._post_batch(internal.encode_batch(batch))
        results = internal.decode_results(body)
        if len(results) != len(batch):
            raise internal.UndecodableMessage(f"{len(results)} results for {len(batch)} items")
        return results

    async def look_up(self, slugs: Sequence[str]) -> internal.LookupAnswer:
        """The forms of these slugs."""
        return internal.decode_lookup(
            await self._post(internal.LOOKUP, internal.encode_slugs(slugs))
        )

    async def verify_key(self, text: str) -> internal.VerifyAnswer:
        """What a key may do. Raises also ``Rejected(RATE_LIMITED)`` if too many are being asked."""
        return internal.decode_verify(
            await self._post(internal.VERIFY_KEY, internal.encode_key(text))
        )

    async def find_receipt(self, question: internal.IdempotencyQuestion) -> Receipt | None:
        """The receipt of the submission that a key is bound to, or None."""
        body = internal.encode_idempotency_question(question)
        return internal.decode_receipt(await self._post(internal.IDEMPOTENCY, body))

    async def changes(self, epoch: str, since: int) -> internal.ChangesAnswer:
        """What changed since that revision; waits for a change for some seconds."""
        query = {"epoch": epoch, "since": str(since), "wait": str(internal.FEED_WAIT_SECONDS)}
        return internal.decode_changes(
            await self._send("GET", internal.CHANGES, params=query, timeout=_FEED_SECONDS)
        )

    async def put_file(self, object_key: str, upload: Upload) -> None:
        """Stores a file; when it returns, the file is durable."""
        path = f"{internal.FILES}/{quote(object_key)}"
        headers = {"content-length": str(upload.size), "x-content-sha256": upload.sha256}
        try:
            async with asyncio.timeout(_FILE_SECONDS), self._file_turns:
                await self._send(
                    "PUT", path, content=_Content(upload), headers=headers, timeout=_FILE_SECONDS
                )
        except TimeoutError as error:
            raise UpstreamUnavailable(f"{path}: not stored in {_FILE_SECONDS} s") from error

    async def close(self) -> None:
        """Closes the connections."""
        if self._batches is not None:
            await self._batches.close()
        await self._client.aclose()

    async def _post_batch(self, body: bytes) -> bytes:
        path, client = internal.SUBMISSIONS, self._batches
        if client is None:
            return await self._post(path, body)
        try:
            try:
                answer = await client.post(path, body, _DEADLINE_SECONDS)
            except BrokenConnection:
                answer = await client.post(path, body, _DEADLINE_SECONDS)
        except (OSError, TimeoutError) as error:
            raise UpstreamUnavailable(f"{path}: {error!r}") from error
        if answer.status != httpx.codes.OK:
            raise UpstreamUnavailable(f"{path}: status {answer.status}")
        return answer.body

    async def _post(self, path: str, body: bytes) -> bytes:
        return await self._send("POST", path, content=body)

    async def _send(self, method: str, path: str, **arguments: Any) -> bytes:
        try:
            try:
                response = await self._client.request(method, path, **arguments)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                response = await self._client.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise UpstreamUnavailable(f"{path}: {error!r}") from error
        return _checked(response)


class _Content:
    """The bytes of a file, from the start for every attempt to send them."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._upload.chunks()


def _checked(response: httpx.Response) -> bytes:
    if response.status_code == httpx.codes.OK:
        return response.content
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Rejected(
            Problem.RATE_LIMITED,
            "Too many keys are being checked right now. Try again in a moment.",
            headers={"Retry-After": response.headers.get("retry-after", "1")},
        )
    raise UpstreamUnavailable(f"{response.request.url.path}: status {response.status_code}")


def unavailable(detail: str) -> Rejected:
    """The refusal of a post while the backend is away."""
    return Rejected(Problem.UNAVAILABLE, detail, headers={"Retry-After": "5"})
