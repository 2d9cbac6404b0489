"""Answers that no client wants: late, never, without end."""

import asyncio
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Late(Response):
    """Answers after some seconds, or never; ends early with the connection."""

    def __init__(self, answer: Response, seconds: float | None) -> None:
        super().__init__()
        self._answer = answer
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await disconnected(receive)
                return
        await self._answer(scope, receive, send)


class Endless(Response):
    """Sends JSON white space for as long as anybody reads it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(disconnected(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b" " * 8_192, "more_body": True})
            await asyncio.sleep(0)


async def disconnected(receive: Receive) -> None:
    """Returns once the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
