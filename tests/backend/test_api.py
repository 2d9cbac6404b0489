from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backend.api import BODY_MAX_BYTES, finish_app
from contracts import VERSION
from contracts.ids import is_id
from tests.support.clock import ManualClock

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


def slug(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    return str(document["type"].rpartition("/")[2])


async def test_health_tells_the_version(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/v1/health")).json() == {"status": "ok", "version": VERSION}


async def test_every_answer_carries_a_request_id(anonymous: httpx.AsyncClient) -> None:
    for path in ("/v1/health", "/v1/forms", "/nowhere", "/v1/forms/"):
        assert is_id((await anonymous.get(path)).headers["x-request-id"], "req")


@pytest.mark.parametrize(("sent", "is_kept"), [("a-B_1", True), ("a" * 65, False), ("a b", False)])
async def test_a_well_formed_request_id_is_kept(
    anonymous: httpx.AsyncClient, sent: str, is_kept: bool
) -> None:
    answer = await anonymous.get("/v1/health", headers={"X-Request-Id": sent})
    assert (answer.headers["x-request-id"] == sent) is is_kept


async def test_an_unknown_path_is_404(anonymous: httpx.AsyncClient) -> None:
    for path in ("/", "/v1/forms/", "/v2/forms"):
        answer = await anonymous.get(path)
        assert (answer.status_code, slug(answer)) == (404, "not-found")


async def test_a_wrong_method_is_405_and_names_the_right_ones(
    anonymous: httpx.AsyncClient,
) -> None:
    answer = await anonymous.put("/v1/forms/frm_1")
    assert (answer.status_code, slug(answer)) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_head_is_answered_like_get(client: httpx.AsyncClient) -> None:
    assert (await client.head("/v1/forms")).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_json_is_415(client: httpx.AsyncClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    answer = await client.post("/v1/forms", content=b"{}", headers=headers)
    assert (answer.status_code, slug(answer)) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"name":NaN}', b'{"name":"\\ud800"}', b"[" * 5000]
)
async def test_an_unreadable_body_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await client.post("/v1/forms", content=body, headers=headers)
    assert (answer.status_code, slug(answer)) == (400, "bad-body")


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_over_a_mebibyte_is_413(client: httpx.AsyncClient, is_chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * (BODY_MAX_BYTES // 16)

    content = chunks() if is_chunked else b" " * (BODY_MAX_BYTES + 1)
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/forms", content=content, headers=headers)
    assert (answer.status_code, slug(answer)) == (413, "body-too-large")


async def test_every_bad_member_is_listed(client: httpx.AsyncClient) -> None:
    body = {"name": 1, "redirect_hosts": ["ok", "no/host"], "extra": 1}
    answer = await client.post("/v1/forms", json=body)
    assert slug(answer) == "validation-error"
    errors = answer.json()["errors"]
    assert {error["field"] for error in errors} == {"name", "redirect_hosts.1", "extra"}
    assert all(error.keys() == {"field", "code", "message"} for error in errors)


async def test_an_unexpected_error_is_500_and_tells_nothing(
    database_url: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(_: Request) -> Response:
        raise RuntimeError("a secret path")

    app = finish_app(Starlette(routes=[Route("/", fail)]), "https://x", clock)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://backend"
    ) as client:
        answer = await client.get("/")
    assert (answer.status_code, slug(answer)) == (500, "internal")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in capsys.readouterr().out
