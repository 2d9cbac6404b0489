"""Answers of an app in this process arrive as they are made."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from formflow.in_process import InProcessTransport

pytestmark = pytest.mark.asyncio


class Endless:
    """An app whose answer has no end; counts the chunks that were asked for."""

    def __init__(self) -> None:
        self.made = 0

    async def answer(self, _: Request) -> Response:
        """The answer."""
        return StreamingResponse(self._chunks())

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            self.made += 1
            yield b"x" * 1_000


def client(*routes: Route) -> httpx.AsyncClient:
    transport = InProcessTransport(Starlette(routes=list(routes)))
    return httpx.AsyncClient(transport=transport, base_url="http://formflow")


async def test_no_more_is_made_than_is_read_and_a_close_ends_it() -> None:
    endless = Endless()
    async with (
        client(Route("/", endless.answer)) as http,
        http.stream("GET", "/") as answer,
    ):
        chunks = answer.aiter_bytes()
        for _ in range(3):
            assert await anext(chunks) == b"x" * 1_000
        assert endless.made < 20
    made = endless.made
    for _ in range(10):
        await asyncio.sleep(0)
    assert endless.made == made


async def test_a_request_arrives_whole() -> None:
    async def echo(request: Request) -> Response:
        return JSONResponse(
            {
                "body": (await request.body()).decode(),
                "path": request.url.path,
                "query": request.query_params["q"],
                "header": request.headers["x-test"],
            },
            201,
        )

    async with client(Route("/a/b", echo, methods=["POST"])) as http:
        headers = {"x-test": "1"}
        answer = await http.post("/a/b", params={"q": "ä&"}, content="é", headers=headers)
    assert answer.status_code == 201
    assert answer.json() == {"body": "é", "path": "/a/b", "query": "ä&", "header": "1"}


async def test_what_the_app_raises_is_raised() -> None:
    async def broken(_: Request) -> Response:
        raise ZeroDivisionError

    async with client(Route("/", broken)) as http:
        with pytest.raises(ZeroDivisionError):
            await http.get("/")


async def test_a_body_is_read_as_the_app_asks_for_it() -> None:
    made = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal made
        while True:
            made += 1
            yield b"x"

    async def refuse(request: Request) -> Response:
        async for _ in request.stream():
            return Response(status_code=413)
        raise AssertionError

    async with client(Route("/", refuse, methods=["POST"])) as http:
        answer = await http.post("/", content=pieces())
    assert (answer.status_code, made) == (413, 1)
