"""The management API as the command line speaks it: of a running product, or of a data directory.

Both are the same HTTP calls: for a data directory the backend's app is called in this process, as
its local operator.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx

from contracts.runtime.settings import StartError, load_settings
from formflow.in_process import InProcessTransport
from formflow.kept_origin import with_kept_origin
from formflow.kept_secrets import with_kept_secrets

T = TypeVar("T")
Query = Mapping[str, Any]
_TIMEOUT_SECONDS = 30.0
_PAGE = 100
_PIECE_BYTES = 256 * 1024
# How often, and for how long at most, a refusal that invites a repeat is followed.
_REPEATS = 5
_PAUSE_SECONDS_MAX = 60.0


class CommandError(StartError):
    """The command failed; the message is one line."""


class Refused(CommandError):
    """The product refused a call: with which ``status``, and the ``codes`` of what is wrong."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(_complaint(answer))
        self.status = answer.status_code
        self.codes = frozenset(error["code"] for error in _errors(answer))


@dataclass(frozen=True, slots=True)
class Target:
    """Which product a command speaks to: ``url`` with ``key``, else a data directory. A data
    directory that is named wins: the URL may come from the environment."""

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
    """Calls of the management API; each raises Refused with the problem's detail, or CommandError
    if there is no answer. What is refused for now is sent again when the refusal says so, if that
    cannot do anything twice."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def call(
        self, method: str, path: str, *, query: Query | None = None, body: Any = None
    ) -> Any:
        """The JSON answer, or None if there is none."""
        request = {"params": query or {}} | ({} if body is None else {"json": body})
        answer = await self._answer(lambda: self._http.build_request(method, path, **request))
        return answer.json() if answer.content else None

    async def upload(self, path: str, query: Query, content: IO[bytes], size: int) -> Any:
        """The JSON answer to a POST of ``size`` bytes, the whole of a file that can be read
        again."""
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}

        def request() -> httpx.Request:
            content.seek(0)
            return self._http.build_request(
                "POST", path, params=query, headers=headers, content=_pieces(content)
            )

        return (await self._answer(request)).json()

    async def all(
        self, path: str, query: Query | None = None, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The items of a list, page by page: every one, or so many."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            size = _PAGE if limit is None else min(_PAGE, limit - len(items))
            wanted = dict(query or {}) | {"limit": size} | ({"cursor": cursor} if cursor else {})
            page = await self.call("GET", path, query=wanted)
            items += page["data"]
            cursor = page["next_cursor"]
            if cursor is None or len(items) == limit:
                return items

    async def chunks(self, path: str, query: Query | None = None) -> AsyncIterator[bytes]:
        """The answer, as it arrives."""
        answer = await self._answer(
            lambda: self._http.build_request("GET", path, params=query or {}), is_streamed=True
        )
        try:
            async for chunk in answer.aiter_bytes():
                yield chunk
        except httpx.TransportError as error:
            raise CommandError(f"{self._http.base_url} broke off: {error}") from None
        finally:
            await answer.aclose()

    async def form_id(self, form: str) -> str:
        """The id of a form that is named by its id or slug."""
        if form.startswith("frm_"):
            return form
        for document in await self.all("/v1/forms"):
            if document["slug"] == form:
                return str(document["id"])
        raise CommandError(f"there is no form {form!r}: formflow forms list shows them")

    async def _answer(
        self, request: Callable[[], httpx.Request], *, is_streamed: bool = False
    ) -> httpx.Response:
        """The success that ``request``, made anew for each attempt, is answered with."""
        for repeats_left in reversed(range(_REPEATS + 1)):
            try:
                answer = await self._http.send(request(), stream=is_streamed)
                if answer.is_success:
                    return answer
                await answer.aread()
            except (httpx.TransportError, httpx.InvalidURL) as error:
                raise CommandError(f"cannot reach {self._http.base_url}: {error}") from None
            pause = _pause_seconds(answer)
            if pause is None or not repeats_left:
                break
            await asyncio.sleep(pause)
        raise Refused(answer)


def _pause_seconds(answer: httpx.Response) -> float | None:
    # A rate limit comes before anything is done; of a 503 that is not known.
    if answer.status_code != 429 and not (
        answer.status_code == 503 and answer.request.method == "GET"
    ):
        return None
    try:
        seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return seconds if seconds <= _PAUSE_SECONDS_MAX else None


async def _pieces(content: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := content.read(_PIECE_BYTES):
        yield piece


def _complaint(answer: httpx.Response) -> str:
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.url} answered {answer.status_code}"
    errors = [f"{error['field']}: {error['message']}" for error in _errors(answer)]
    # The detail of a single error repeats it.
    return "; ".join([detail, *(error for error in errors if error != detail)])


def _errors(answer: httpx.Response) -> list[dict[str, str]]:
    """What is wrong with each member, if the answer is a problem that says so."""
    try:
        errors = answer.json().get("errors") or []
        return [{name: error[name] for name in ("field", "code", "message")} for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


@asynccontextmanager
async def _connected(target: Target) -> AsyncIterator[httpx.AsyncClient]:
    if target.url is not None and target.data is None:
        if target.key is None:
            raise CommandError("--url needs --key, a management key (ff_mgmt_…)")
        async with _http(target.url, target.key) as http:
            yield http
        return
    from backend.app import Backend

    settings = load_settings(target.config, data_dir=target.data)
    settings = with_kept_origin(with_kept_secrets(settings))
    operator_token = secrets.token_urlsafe(32)
    backend = Backend(settings, operator_token=operator_token)
    async with (
        backend.running(),
        _http("http://formflow", operator_token, InProcessTransport(backend)) as http,
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
