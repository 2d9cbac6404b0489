"""The passthrough: everything but posts reaches the backend; its internal surface never."""

from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
import pytest_asyncio
from starlette.types import Message

from contracts.internal import FORWARDED_BY, forwarding_proof
from contracts.runtime.settings import load_settings
from gateway.app import Gateway
from tests.support.builders import form_config
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

pytestmark = pytest.mark.asyncio


@pytest.fixture
def backend() -> MiniBackend:
    return MiniBackend()


@pytest_asyncio.fixture
async def gateway(backend: MiniBackend) -> AsyncIterator[httpx.AsyncClient]:
    async with running_gateway(backend) as client:
        yield client


async def test_a_request_reaches_the_backend_and_its_answer_the_client(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    answer = await gateway.post("/v1/forms?a=b%20c", json={"name": "x"})
    assert (answer.json(), answer.headers["x-from"]) == ({"path": "/v1/forms"}, "backend")
    assert backend.public[0].url.query == "a=b%20c"


async def test_forwarding_headers_are_the_gateways_own_word(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    claims = {"x-forwarded-for": "9.9.9.9", "forwarded": "for=9.9.9.9", "connection": "x-gone"}
    await gateway.get("/v1/forms", headers=claims | {"x-gone": "1", "x-kept": "1"})
    headers = backend.public[0].headers
    assert headers.getlist("x-forwarded-for") == ["192.0.2.7"]
    assert "forwarded" not in headers
    assert "x-gone" not in headers
    assert headers["x-kept"] == "1"


async def test_a_visitor_behind_proxies_is_the_same_at_a_post_and_at_what_is_passed_on(
    backend: MiniBackend,
) -> None:
    backend.forms["contact"] = form_config()
    told = [
        ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
        ("forwarded", "for=2.2.2.2"),
        ("x-forwarded-for", "192.0.2.8"),
    ]
    async with running_gateway(backend, trusted_proxies="192.0.2.0/24") as gateway:
        await gateway.post("/v1/f/contact", json={"a": "b"}, headers=told)
        await gateway.get("/v1/forms", headers=told)
    assert orjson.loads(backend.submissions[0].meta)["ip"] == "203.0.113.9"
    assert backend.public[0].headers.getlist("x-forwarded-for") == ["203.0.113.9"]


@pytest.mark.parametrize(
    "path",
    [
        "/internal/v1/submissions",
        "//internal/v1/submissions",
        "/INTERNAL/v1/lookup",
        "/%69nternal/v1/lookup",
        "/%2569nternal/v1/lookup",
        "/v1/../internal/v1/lookup",
        "/v1/%2e%2e/internal/v1/lookup",
        "/./internal/v1/changes",
        "/%5cinternal/v1/changes",
        "/internal",
    ],
)
async def test_the_internal_surface_cannot_be_reached_however_it_is_spelled(
    gateway: httpx.AsyncClient, backend: MiniBackend, path: str
) -> None:
    before = len(backend.lookups)
    answer = await gateway.get(f"http://gateway{path}")
    assert (answer.status_code, answer.json()["title"]) == (404, "There is nothing here")
    assert len(backend.lookups) == before


@pytest.mark.parametrize(
    "path",
    ["//", "//x/y", "/\\", "/a//b", "/%ff", "/%", "/a?b?c", "/@", "/:80", "/x:y/", "/[", "/;"],
)
async def test_an_odd_path_reaches_the_backend_as_it_is_or_nothing(
    backend: MiniBackend, path: str
) -> None:
    loaded = load_settings(environ={}, internal_token=TOKEN)
    gateway = Gateway(loaded, transport=backend.transport())
    answered: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"x")],
        "scheme": "http",
        "client": ("192.0.2.7", 1),
    }
    await gateway(scope, receive, send)
    assert answered == [404]


async def test_a_backend_that_is_away_is_a_problem(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    backend.is_down = True
    answer = await gateway.get("/v1/forms")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_passthrough_there_is_nothing_else(backend: MiniBackend) -> None:
    async with running_gateway(backend, gateway_passthrough=False) as gateway:
        assert (await gateway.get("/v1/forms")).status_code == 404


async def test_liveness_does_not_depend_on_the_backend(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    backend.is_down = True
    assert (await gateway.get("/livez")).status_code == 200


async def test_only_the_gateway_proves_whose_request_it_is(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    name = FORWARDED_BY.decode()
    await gateway.get("/v1/forms", headers={name: "forged"})
    headers = backend.public[0].headers
    assert headers.getlist(name) == [forwarding_proof(TOKEN).decode()]
    assert TOKEN not in repr(headers)
