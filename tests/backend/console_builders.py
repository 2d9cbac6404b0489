"""People at the console: signed in, looking at pages and sending forms."""

import html
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from starlette.applications import Starlette

from backend.api import finish_app
from backend.console.console import console_routes
from backend.management import OPERATIONS, Services, management_routes
from backend.members.service import Joined
from backend.sessions.cookies import session_cookie
from backend.sessions.csrf import FIELD, csrf_token
from tests.backend.builders import Account
from tests.backend.session_builders import join

ORIGIN = "http://console"
Fields = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Browser:
    """A browser in which a member is signed in; it follows no redirects. ``client`` also reaches
    the management API, with a credential of the test's own."""

    client: httpx.AsyncClient
    joined: Joined

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def see(self, path: str) -> str:
        """The text of a page that is there."""
        answer = await self.get(path)
        assert answer.status_code == 200, answer.text
        return text_of(answer.text)

    async def post(self, path: str, fields: Fields | None = None, **headers: str) -> httpx.Response:
        """Sends a form as one of the console's own pages does."""
        own = {FIELD: csrf_token(self.joined.session.token)}
        return await self.client.post(
            path, data=own | dict(fields or {}), headers={"Origin": ORIGIN} | headers
        )

    async def send(self, path: str, content: bytes = b"", **query: str) -> httpx.Response:
        """Sends the bytes of a file as a script of the console's does."""
        headers = {
            "Origin": ORIGIN,
            "Content-Type": "application/octet-stream",
            "X-CSRF-Token": csrf_token(self.joined.session.token),
        }
        return await self.client.post(path, params=query, content=content, headers=headers)


@asynccontextmanager
async def browsing(
    services: Services,
    account: Account,
    role: str = "owner",
    rights: Sequence[str] | None = None,
) -> AsyncIterator[Browser]:
    """The browser of a member of the account, with a role or some rights."""
    joined = await join(services, account, role, rights)
    routes = [*management_routes(services), *console_routes(services, OPERATIONS)]
    app = Starlette(routes=routes)
    finish_app(app, services.settings.problem_base, services.clock, services)
    cookie = session_cookie(joined.session.token, 60, secure=False).partition(";")[0]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=ORIGIN, headers={"Cookie": cookie}
    ) as client:
        yield Browser(client, joined)


def text_of(page: str) -> str:
    """What a person reads on a page, on one line."""
    body = re.sub(r"(?s)<head>.*?</head>|<svg.*?</svg>", " ", page)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())
