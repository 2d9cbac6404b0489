"""Calls that are refused for now are made again."""

import io
from collections.abc import Callable

import httpx
import pytest

from formflow.client import Client, Refused

pytestmark = pytest.mark.asyncio
WAIT = httpx.Response(429, headers={"retry-after": "0"}, json={"detail": "Too many requests."})
INVALID = {
    "detail": "fields: bad",
    "errors": [{"field": "fields", "code": "no_secret", "message": "bad"}],
}


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    transport = httpx.MockTransport(answer)
    return Client(httpx.AsyncClient(transport=transport, base_url="http://formflow"))


async def test_a_file_is_sent_whole_again_and_its_length_is_said() -> None:
    received: list[tuple[bytes, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        received.append((request.content, request.headers["content-length"]))
        return WAIT if len(received) == 1 else httpx.Response(200, json={"id": "fil_1"})

    answered = await client(answer).upload("/", {}, io.BytesIO(b"content"), 7)
    assert answered == {"id": "fil_1"}
    assert received == [(b"content", "7")] * 2


async def test_a_download_begins_again_if_it_was_not_let_in() -> None:
    answers = [WAIT, httpx.Response(200, content=b"content")]
    chunks = [chunk async for chunk in client(lambda _: answers.pop(0)).chunks("/")]
    assert b"".join(chunks) == b"content"


async def test_a_refusal_tells_its_status_and_codes() -> None:
    with pytest.raises(Refused, match="fields: bad") as refused:
        await client(lambda _: httpx.Response(422, json=INVALID)).call("GET", "/")
    assert (refused.value.status, refused.value.codes) == (422, frozenset({"no_secret"}))
