"""The form cache and the feed: what a gateway knows, and how soon it hears of a change."""

import asyncio

import httpx
import pytest

from contracts.forms import FormStatus
from contracts.keys import KeyKind, mint_key
from tests.support.builders import form_config, key_grant
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

pytestmark = pytest.mark.asyncio


async def status_of(gateway: httpx.AsyncClient, slug: str = "contact", **headers: str) -> int:
    return (await gateway.post(f"/v1/f/{slug}", data={"a": "b"}, headers=headers)).status_code


async def until_status(gateway: httpx.AsyncClient, status: int, **headers: str) -> None:
    async with asyncio.timeout(5):
        while await status_of(gateway, **headers) != status:
            await asyncio.sleep(0)


async def test_a_form_is_looked_up_once() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        for _ in range(5):
            await status_of(gateway)
    assert backend.lookups == [["contact"]]


async def test_a_thousand_posts_for_an_unknown_form_are_one_look_up() -> None:
    backend = MiniBackend(forms={"contact": form_config()}, lookup_gate=asyncio.Event())
    async with running_gateway(backend) as gateway:
        posts = [asyncio.create_task(status_of(gateway)) for _ in range(1000)]
        await asyncio.sleep(0.01)
        posts[0].cancel()
        assert backend.lookup_gate is not None
        backend.lookup_gate.set()
        assert set(await asyncio.gather(*posts[1:])) == {200}
    assert backend.lookups == [["contact"]]


async def test_a_pause_is_heard_through_the_feed() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await until_status(gateway, 200)
        backend.change("contact", form_config(status=FormStatus.PAUSED, revision=2))
        await until_status(gateway, 403)
        backend.change("contact", None)
        await until_status(gateway, 404)


async def test_a_new_form_replaces_the_memory_of_its_absence() -> None:
    backend = MiniBackend()
    async with running_gateway(backend) as gateway:
        assert await status_of(gateway) == 404
        assert await status_of(gateway) == 404
        assert len(backend.lookups) == 1
        backend.change("contact", form_config())
        await until_status(gateway, 200)


async def test_a_revoked_key_is_heard_through_the_feed() -> None:
    key = mint_key(KeyKind.SUBMISSION)
    backend = MiniBackend(
        forms={"contact": form_config()}, keys={key.text: key_grant(key_id=key.key_id)}
    )
    async with running_gateway(backend) as gateway:
        bearer = f"Bearer {key.text}"
        await until_status(gateway, 200, authorization=bearer)
        backend.revoke(key.text)
        await until_status(gateway, 403, authorization=bearer)


async def test_a_new_epoch_forgets_what_was_held() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await until_status(gateway, 200)
        del backend.forms["contact"]
        backend.restore("epoch-2")
        await until_status(gateway, 404)


async def test_an_unknown_form_while_the_backend_is_away_is_unavailable_not_unknown() -> None:
    backend = MiniBackend()
    async with running_gateway(backend) as gateway:
        backend.is_down = True
        assert await status_of(gateway) == 503


async def test_an_unknown_key_while_the_backend_is_away_is_unavailable_not_invalid() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await until_status(gateway, 200)
        backend.is_down = True
        bearer = f"Bearer {mint_key(KeyKind.SUBMISSION).text}"
        assert await status_of(gateway, authorization=bearer) == 503


async def test_an_absence_is_forgotten_after_seconds() -> None:
    backend, clock = MiniBackend(), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        clock.advance(6)
        await status_of(gateway)
    assert len(backend.lookups) == 2


async def test_while_the_feed_is_silent_a_held_form_is_looked_up_before_use() -> None:
    backend, clock = MiniBackend(forms={"contact": form_config()}), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        clock.advance(11)
        backend.forms["contact"] = form_config(status=FormStatus.PAUSED)
        assert await status_of(gateway) == 403


async def test_a_scan_of_random_slugs_pushes_no_form_out() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await status_of(gateway)
        await asyncio.gather(*(status_of(gateway, f"guess-{n}") for n in range(500)))
        asked = sum("contact" in slugs for slugs in backend.lookups)
        await status_of(gateway)
    assert asked == sum("contact" in slugs for slugs in backend.lookups) == 1


async def test_an_answer_older_than_the_feed_is_not_kept() -> None:
    backend = MiniBackend(forms={"contact": form_config()}, lookup_gate=asyncio.Event())
    async with running_gateway(backend) as gateway:
        first = asyncio.create_task(status_of(gateway))
        while not backend.lookups:
            await asyncio.sleep(0)
        backend.change("contact", form_config(status=FormStatus.PAUSED, revision=2))
        await asyncio.sleep(0.05)
        assert backend.lookup_gate is not None
        backend.lookup_gate.set()
        await first
        assert await status_of(gateway) == 403
