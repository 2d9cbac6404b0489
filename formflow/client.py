"""The management API as the command line speaks it: of a running product, or of a data directory.

Both are the same HTTP calls: for a data directory the backend's app is called in this process, as
its local operator.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from contracts.runtime.settings import StartError, load_settings

T = TypeVar("T")
_TIMEOUT_SECONDS = 30.0


class CommandError(StartError):
    """The command failed; the message is one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """Which product a command speaks to: ``url`` with ``key``, else a data directory."""

    url: str | None
    key: str | None
    config: Path | None
    data: Path | None


def with_client(target: Target, work: Callable[["Client"], Awaitable[T]]) -> T:
    """Runs ``work`` with a client of the target. Raises CommandError, SettingsError."""

    async def main() -> T:
        async with _connected(target) as http:
            return await work(Client(http))

    return asyncio.run(main())


class Client:
    """Calls of the management API; each raises CommandError with the problem's detail."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """The JSON answer, or None if there is none."""
        try:
            answer = await self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise CommandError(f"cannot reach {self._http.base_url}: {error}") from None
        if answer.is_success:
            return answer.json() if answer.content else None
        raise CommandError(_complaint(answer))

    async def all(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": "100"} | ({"cursor": cursor} if cursor else {})
            page = await self.call("GET", path, params=query)
            items += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items


def _complaint(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}"
    errors = problem.get("errors") or []
    return "; ".join([detail, *(f"{error['field']}: {error['message']}" for error in errors)])


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    if target.url is not None:
        if target.key is None:
            raise CommandError("--url needs --key, a management key (ff_mgmt_…)")
        async with _http(target.url, target.key) as http:
            yield http
        return
    from backend.app import Backend

    settings = load_settings(target.config, data_dir=target.data)
    operator_token = secrets.token_urlsafe(32)
    backend = Backend(settings, operator_token=operator_token)
    async with (
        backend.running(),
        _http("http://formflow", operator_token, httpx.ASGITransport(backend)) as http,
    ):
        yield http


def _http(
    url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        transport=transport,
        headers={"authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_SECONDS,
        trust_env=False,
    )
