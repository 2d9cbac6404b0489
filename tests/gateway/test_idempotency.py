"""Idempotency keys at one gateway, in front of a mini backend."""

import asyncio
from typing import Any

import httpx
import pytest

from contracts.forms import TurnstileConfig, TurnstileOnOutage
from contracts.submissions import Receipt
from gateway.idempotency import Idempotency
from gateway.upstream import Upstream
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend
from tests.support.mini_turnstile import SECRET, running_turnstile

URL = "/v1/f/contact"
CHECK = TurnstileConfig(SECRET, TurnstileOnOutage.REFUSE, skip_with_key=True)

pytestmark = pytest.mark.asyncio


async def post(gateway: httpx.AsyncClient, key: str = "k", **fields: str) -> httpx.Response:
    return await gateway.post(URL, data={"a": "b"} | fields, headers={"idempotency-key": key})


def backend_with(**members: object) -> MiniBackend:
    return MiniBackend(forms={"contact": form_config(**members)})


async def test_posts_with_one_key_at_once_are_one_submission() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        answers = await asyncio.gather(*(post(gateway) for _ in range(12)))
    assert len({answer.json()["id"] for answer in answers}) == len(backend.submissions) == 1
    replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
    assert sorted(replayed, key=str) == [None, *["true"] * 11]


async def test_a_replay_names_the_original_and_its_time() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        first = await post(gateway)
        again = await post(gateway, other="body")
    assert again.json() == first.json()
    assert again.headers["idempotency-mismatch"] == "true"


async def test_the_order_of_fields_and_the_boundary_do_not_make_another_body() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        for files in ({"a": (None, "1"), "b": (None, "2")}, {"b": (None, "2"), "a": (None, "1")}):
            headers = {"idempotency-key": "k"}
            answer = await gateway.post(URL, files=files, headers=headers)
    assert "idempotency-mismatch" not in answer.headers


async def test_the_order_of_a_repeated_field_and_a_files_content_do() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        pairs: dict[str, list[dict[str, Any]]] = {
            "list": [{"data": {"a": ["1", "2"]}}, {"data": {"a": ["2", "1"]}}],
            "file": [{"files": {"f": ("n", b"1")}}, {"files": {"f": ("n", b"2")}}],
        }
        for key, bodies in pairs.items():
            headers = {"idempotency-key": key}
            answers = [await gateway.post(URL, headers=headers, **body) for body in bodies]
            assert answers[1].headers["idempotency-mismatch"] == "true"


async def test_another_gateway_replays_what_the_backend_knows() -> None:
    backend = backend_with()
    async with running_gateway(backend) as one, running_gateway(backend) as other:
        first = await post(one)
        again = await post(other)
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_refusal_binds_nothing() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        backend.refuse_with = "form-not-live"
        refused = await post(gateway)
        backend.refuse_with = None
        stored = await post(gateway)
    assert (refused.status_code, stored.status_code) == (403, 200)
    assert "idempotency-replayed" not in stored.headers


async def test_who_waits_for_a_post_that_fails_goes_its_own_way() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        await post(gateway, key="warm")
        backend.commit_gate = asyncio.Event()
        first, second = (asyncio.create_task(post(gateway)) for _ in range(2))
        await asyncio.sleep(0.02)
        backend.refuse_with = "form-not-live"
        backend.commit_gate.set()
        assert (await first).status_code == 403
        backend.refuse_with = None
        assert (await second).status_code in (200, 403)
        assert (await post(gateway)).status_code == 200


async def test_the_usual_post_asks_the_backend_nothing_before_the_commit() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        await post(gateway)
    assert backend.questions == []


async def test_an_honest_retry_through_another_gateway_burns_no_turnstile_token() -> None:
    backend = backend_with(turnstile=CHECK)
    with running_turnstile() as turnstile:
        async with (
            running_gateway(backend, turnstile_verify_url=turnstile.url) as one,
            running_gateway(backend, turnstile_verify_url=turnstile.url) as other,
        ):
            token = {"cf-turnstile-response": "used-once"}
            answers = [await post(gateway, **token) for gateway in (one, one, other)]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert turnstile.tokens == ["used-once"]


async def test_a_post_that_fails_anyway_burns_no_turnstile_token() -> None:
    backend = backend_with(turnstile=CHECK, file_bytes=0)
    token = {"cf-turnstile-response": "unused"}
    with running_turnstile() as turnstile:
        async with running_gateway(backend, turnstile_verify_url=turnstile.url) as gateway:
            await gateway.post(URL, data=token, files={"f": ("n", b"1")})
            await gateway.post(URL, data=token | {"_gotcha": "bot"})
        assert turnstile.calls == []


async def test_a_known_key_is_replayed_when_the_quota_is_used_up() -> None:
    backend = backend_with()
    async with running_gateway(backend) as one, running_gateway(backend) as other:
        first = await post(one)
        backend.quota = 1
        refused = await post(other, key="new")
        again = await post(other)
    assert (refused.status_code, again.json()["id"]) == (402, first.json()["id"])


async def test_a_used_up_quota_is_refused_from_memory_until_a_form_changes() -> None:
    backend = backend_with()
    async with running_gateway(backend) as gateway:
        backend.quota = 0
        problem = (await gateway.post(URL, data={"a": "b"})).json()
        assert (problem["limit"], problem["used"]) == (0, 0)
        backend.quota = None
        assert (await gateway.post(URL, data={"a": "b"})).status_code == 402
        backend.change("contact", form_config(revision=2))
        async with asyncio.timeout(5):
            while (await gateway.post(URL, data={"a": "b"})).status_code != 200:
                await asyncio.sleep(0)


async def test_a_receipt_is_not_repeated_when_a_backup_without_it_was_restored() -> None:
    backend, clock = backend_with(), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        lost = await post(gateway)
        backend.restore_without(lost.json()["id"], "epoch-2")
        await until_fed(gateway, clock, backend)
        again = await post(gateway)
    assert again.status_code == 200
    assert again.json()["id"] != lost.json()["id"]
    assert "idempotency-replayed" not in again.headers
    assert again.json()["id"] in {item.id for item in backend.submissions}


async def test_a_receipt_of_a_post_that_was_under_way_then_is_not_kept_either() -> None:
    backend, clock = backend_with(), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await post(gateway, key="warm")
        backend.answer_gate = asyncio.Event()
        under_way = asyncio.create_task(post(gateway))
        async with asyncio.timeout(5):
            while len(backend.submissions) < 2:
                await asyncio.sleep(0)
        lost = backend.submissions[1].id
        backend.restore_without(lost, "epoch-2")
        await until_fed(gateway, clock, backend)
        backend.answer_gate.set()
        assert (await under_way).json()["id"] == lost
        again = await post(gateway)
    assert again.json()["id"] in {item.id for item in backend.submissions}


async def until_fed(gateway: httpx.AsyncClient, clock: ManualClock, backend: MiniBackend) -> None:
    """Returns when the gateway has heard the feed once more."""
    clock.advance(1)
    backend.beat()
    async with asyncio.timeout(5):
        while "formflow_feed_silent_seconds 0.0" not in (await gateway.get("/metrics")).text:
            await asyncio.sleep(0)


async def test_receipts_are_bounded_and_the_oldest_goes_first() -> None:
    form, keys = form_config(), [f"key-{n}" for n in range(50_001)]
    upstream = Upstream("http://backend", TOKEN, MiniBackend().transport())
    idempotency = Idempotency(upstream, ManualClock())
    for key in keys:
        async with idempotency.claim(form, key, "f", asks_early=False) as claim:
            claim.bind(Receipt(f"sub-of-{key}", form.id, 0))
    known = []
    for key in (keys[0], keys[1], keys[-1]):
        async with idempotency.claim(form, key, "f", asks_early=False) as claim:
            known.append(claim.earlier.submission_id if claim.earlier else None)
    assert known == [None, "sub-of-key-1", "sub-of-key-50000"]
    assert len(idempotency) == 50_000


async def test_a_token_whose_post_was_not_stored_may_be_used_once_more() -> None:
    backend = backend_with(turnstile=CHECK)
    token = {"cf-turnstile-response": "used-once"}
    with running_turnstile() as turnstile:
        async with running_gateway(backend, turnstile_verify_url=turnstile.url) as gateway:
            await gateway.post(URL, data={"_gotcha": "warms the cache"})
            backend.status = 503
            refused = await gateway.post(URL, data=token)
            backend.status = None
            statuses = [(await gateway.post(URL, data=token)).status_code for _ in range(2)]
    assert (refused.status_code, statuses) == (503, [200, 403])
