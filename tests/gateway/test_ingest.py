"""The ingest endpoint in front of a mini backend: what a post is answered and what is forwarded."""

import asyncio
import gc
from collections.abc import AsyncIterator

import httpx
import orjson
import pytest
import pytest_asyncio

from contracts.forms import FormStatus
from contracts.keys import KeyKind, mint_key
from gateway.posts import Post
from tests.support.builders import form_config, key_grant
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain"}
FIELDS = {"email": "ada@example.com", "message": "Hello"}

pytestmark = pytest.mark.asyncio


@pytest.fixture
def backend() -> MiniBackend:
    return MiniBackend(forms={"contact": form_config()})


@pytest_asyncio.fixture
async def gateway(backend: MiniBackend) -> AsyncIterator[httpx.AsyncClient]:
    async with running_gateway(backend) as client:
        yield client


async def test_a_form_post_is_committed_and_answered_with_its_id(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    answer = await gateway.post("/v1/f/contact", data=FIELDS)
    [stored] = backend.submissions
    assert answer.status_code == 200
    assert answer.json()["id"] == stored.id
    assert answer.json() | {"id": "", "received_at": ""} == {
        "id": "",
        "form_id": "frm_1",
        "received_at": "",
        "ok": True,
        "next": None,
    }
    assert orjson.loads(stored.payload) == FIELDS
    assert orjson.loads(stored.meta)["ip"] == "192.0.2.7"


@pytest.mark.parametrize(
    "request_body",
    [{"data": FIELDS}, {"json": FIELDS}, {"files": {k: (None, v) for k, v in FIELDS.items()}}],
    ids=["urlencoded", "json", "multipart"],
)
async def test_each_body_type_is_stored_alike(
    gateway: httpx.AsyncClient, backend: MiniBackend, request_body: dict[str, object]
) -> None:
    answer = await gateway.post("/v1/f/contact", **request_body)  # type: ignore[arg-type]
    assert answer.status_code == 200
    assert orjson.loads(backend.submissions[0].payload) == FIELDS


async def test_control_fields_are_not_stored(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    control = {"_gotcha": "", "_next": "https://x.example/", "cf-turnstile-response": "t"}
    await gateway.post("/v1/f/contact", data=FIELDS | control)
    assert orjson.loads(backend.submissions[0].payload) == FIELDS


async def test_a_filled_honeypot_is_stored_as_spam_and_answered_alike(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    genuine = await gateway.post("/v1/f/contact", data=FIELDS)
    trapped = await gateway.post("/v1/f/contact", data=FIELDS | {"_gotcha": "x"})
    assert [item.status for item in backend.submissions] == ["received", "spam"]
    assert trapped.status_code == genuine.status_code
    assert trapped.headers.keys() == genuine.headers.keys()
    assert trapped.json().keys() == genuine.json().keys()


async def test_a_browser_gets_the_thank_you_page(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/v1/f/contact", data=FIELDS, headers=BROWSER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "Thank you" in answer.text


@pytest.mark.parametrize(
    ("asked", "goes_to"),
    [
        (None, "https://shop.example/thanks"),
        ("https://ok.example/a?b=ü", "https://ok.example/a?b=%C3%BC"),
        ("https://evil.example/", "https://shop.example/thanks"),
        ("//ok.example/", "https://shop.example/thanks"),
        ("https://ok.example\\@evil.example/", "https://shop.example/thanks"),
        ("javascript:alert(1)//ok.example", "https://shop.example/thanks"),
    ],
)
async def test_a_browser_is_sent_to_an_allowed_page_only(
    gateway: httpx.AsyncClient, backend: MiniBackend, asked: str | None, goes_to: str
) -> None:
    backend.forms["contact"] = form_config(
        redirect_url="https://shop.example/thanks", redirect_hosts=("ok.example",)
    )
    fields = FIELDS | ({"_next": asked} if asked else {})
    answer = await gateway.post("/v1/f/contact", data=fields, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (303, goes_to)


async def test_a_program_is_told_where_a_browser_would_go(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    backend.forms["contact"] = form_config(redirect_url="https://shop.example/thanks")
    answer = await gateway.post("/v1/f/contact", json=FIELDS, headers=BROWSER)
    assert answer.json()["next"] == "https://shop.example/thanks"


@pytest.mark.parametrize(
    ("arguments", "status", "slug"),
    [
        ({"url": "/v1/f/nobody", "data": FIELDS}, 404, "form-not-found"),
        ({"url": "/v1/f/No%20slug", "data": FIELDS}, 404, "form-not-found"),
        ({"url": "/v1/f/paused", "data": FIELDS}, 403, "form-not-live"),
        ({"url": "/v1/f/draft", "data": FIELDS}, 403, "form-not-live"),
        ({"headers": {"authorization": "Bearer nonsense"}}, 403, "invalid-key"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad-body"),
        (
            {"content": b"x", "headers": {"content-type": "text/plain"}},
            415,
            "unsupported-media-type",
        ),
        ({"content": b"a=1"}, 400, "bad-body"),
        ({"data": {"a": "x" * 1_100_000}}, 413, "body-too-large"),
        ({"method": "GET"}, 405, "method-not-allowed"),
        ({"method": "DELETE"}, 405, "method-not-allowed"),
    ],
)
async def test_bad_input_gets_its_problem_and_nothing_is_stored(
    gateway: httpx.AsyncClient,
    backend: MiniBackend,
    arguments: dict[str, object],
    status: int,
    slug: str,
) -> None:
    backend.forms["paused"] = form_config(slug="paused", status=FormStatus.PAUSED)
    backend.forms["draft"] = form_config(slug="draft", status=FormStatus.DRAFT)
    answer = await gateway.request(
        **({"method": "POST", "url": "/v1/f/contact"} | arguments)  # type: ignore[arg-type]
    )
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"https://formflow.cc/problems/{slug}"
    assert problem["error"] == problem["detail"]
    assert backend.submissions == []


async def test_every_answer_carries_cors_and_a_request_id(gateway: httpx.AsyncClient) -> None:
    answers = [
        await gateway.post("/v1/f/contact", data=FIELDS),
        await gateway.post("/v1/f/nobody", data=FIELDS),
        await gateway.options("/v1/f/contact"),
        await gateway.put("/v1/f/contact"),
    ]
    assert [answer.headers["access-control-allow-origin"] for answer in answers] == ["*"] * 4
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4


async def test_the_preflight_allows_what_forms_send(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.options("/v1/f/contact")
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert "Idempotency-Key" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-max-age"] == "86400"


async def test_a_refused_method_names_the_allowed_ones(gateway: httpx.AsyncClient) -> None:
    assert (await gateway.get("/v1/f/contact")).headers["allow"] == "POST, OPTIONS"


async def test_a_browser_gets_a_page_for_a_refusal(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/v1/f/nobody", data=FIELDS, headers=BROWSER)
    assert answer.status_code == 404
    assert "There is no such form" in answer.text


async def test_a_browser_gets_its_text_back_when_the_backend_is_away(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    await gateway.post("/v1/f/contact", data=FIELDS)
    backend.is_down = True
    fields = {"message": "<script>my long text"}
    answer = await gateway.post("/v1/f/contact", data=fields, headers=BROWSER)
    assert answer.status_code == 503
    assert "&lt;script&gt;my long text" in answer.text


async def test_a_key_of_the_account_posts_and_is_named(backend: MiniBackend) -> None:
    key = mint_key(KeyKind.SUBMISSION)
    backend.keys[key.text] = key_grant(key_id=key.key_id)
    async with running_gateway(backend) as gateway:
        headers = {"authorization": f"Bearer {key.text}"}
        for _ in range(3):
            assert (await gateway.post("/v1/f/contact", data=FIELDS, headers=headers)).is_success
    assert [item.key_id for item in backend.submissions] == [key.key_id] * 3
    assert backend.verified == [key.text]


@pytest.mark.parametrize("kind", list(KeyKind))
async def test_a_key_that_is_not_valid_here_is_never_anonymous(
    gateway: httpx.AsyncClient, backend: MiniBackend, kind: KeyKind
) -> None:
    key = mint_key(kind)
    backend.keys[key.text] = key_grant(key_id=key.key_id, account_id="acc_other")
    headers = {"authorization": f"Bearer {key.text}"}
    answer = await gateway.post("/v1/f/contact", data=FIELDS, headers=headers)
    assert (answer.status_code, backend.submissions) == (403, [])


async def test_a_mistyped_key_costs_no_look_up(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    text = mint_key(KeyKind.SUBMISSION).text
    mistyped = text[:-1] + ("a" if text[-1] != "a" else "b")
    headers = {"authorization": f"Bearer {mistyped}"}
    assert (await gateway.post("/v1/f/contact", headers=headers)).status_code == 403
    assert backend.verified == []


async def test_posts_that_arrive_together_travel_together(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    await gateway.post("/v1/f/contact", data=FIELDS)
    answers = await asyncio.gather(
        *(gateway.post("/v1/f/contact", data={"n": str(n)}) for n in range(100))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == len(backend.submissions) - 1 == 100
    assert len(backend.batches) < 20


async def test_what_the_commit_refuses_is_refused(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    backend.refuse_with = "form-not-live"
    answer = await gateway.post("/v1/f/contact", data=FIELDS)
    assert (answer.status_code, answer.json()["title"]) == (
        403,
        "This form does not accept submissions",
    )


async def test_a_lost_answer_is_asked_for_again_and_stored_once(
    gateway: httpx.AsyncClient, backend: MiniBackend
) -> None:
    backend.drops_answers = 1
    answer = await gateway.post("/v1/f/contact", data=FIELDS)
    assert answer.json()["id"] == backend.submissions[0].id
    assert len(backend.submissions) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 404])
async def test_a_backend_that_cannot_answer_is_never_acknowledged(
    gateway: httpx.AsyncClient, backend: MiniBackend, status: int
) -> None:
    await gateway.post("/v1/f/contact", data=FIELDS)
    backend.status = status
    answer = await gateway.post("/v1/f/contact", data=FIELDS)
    assert answer.status_code == 503
    assert 3 <= int(answer.headers["retry-after"]) <= 8


async def test_every_post_is_counted_by_its_one_outcome(gateway: httpx.AsyncClient) -> None:
    await gateway.post("/v1/f/contact", data=FIELDS)
    await gateway.post("/v1/f/contact", data=FIELDS | {"_gotcha": "x"})
    await gateway.post("/v1/f/nobody", data=FIELDS)
    metrics = await gateway.get("/metrics")
    counted = {
        line.split()[0]: float(line.split()[1])
        for line in metrics.text.splitlines()[2:]
        if not line.startswith("#")
    }
    assert counted['formflow_posts_total{outcome="stored"}'] == 1
    assert counted['formflow_posts_total{outcome="spam"}'] == 1
    assert counted['formflow_posts_total{outcome="form-not-found"}'] == 1
    assert counted['formflow_rate_limit_decisions_total{source="local"}'] == 2


async def test_a_browser_over_its_rate_or_quota_gets_its_text_back(backend: MiniBackend) -> None:
    backend.forms["contact"] = form_config(rate_limit_per_minute=2)
    backend.quota = 1
    fields = {"message": "my long text"}
    async with running_gateway(backend) as gateway:
        answers = [
            await gateway.post("/v1/f/contact", data=fields, headers=BROWSER) for _ in range(3)
        ]
    assert [answer.status_code for answer in answers] == [200, 402, 429]
    assert ["my long text" in answer.text for answer in answers] == [False, True, True]
    assert answers[2].headers["retry-after"] == "60"


async def test_what_a_refused_post_held_is_free_once_it_is_answered(
    gateway: httpx.AsyncClient,
) -> None:
    def held() -> int:
        return sum(isinstance(thing, Post) for thing in gc.get_objects())

    # Left to a collection, the bodies of thousands of refused posts would be in memory at once.
    gc.collect()
    gc.disable()
    try:
        for path, body in (("contact", b'{"message": '), ("nowhere", b"{}"), ("contact", b"[]")):
            answer = await gateway.post(f"/v1/f/{path}", content=body, headers=JSON)
            assert answer.status_code in (400, 404)
        assert held() == 0
    finally:
        gc.enable()
