"""The key cache: what a gateway knows of keys, and what it does while the backend is away."""

import asyncio

import pytest

from contracts import internal
from contracts.internal import ChangesAnswer
from contracts.keys import KeyKind, mint_key
from contracts.problems import Problem, Rejected
from gateway.config.keys import KeyCache
from gateway.upstream import Upstream
from tests.gateway.test_forms import status_of, until, until_status
from tests.support.builders import form_config, key_grant
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

KEY = mint_key(KeyKind.SUBMISSION)
BEARER = f"Bearer {KEY.text}"
FORM = form_config()

pytestmark = pytest.mark.asyncio


def backend_with_key() -> MiniBackend:
    grant = key_grant(key_id=KEY.key_id)
    return MiniBackend(forms={"contact": FORM}, keys={KEY.text: grant})


def key_cache(backend: MiniBackend, clock: ManualClock, grants_max: int = 1_000) -> KeyCache:
    upstream = Upstream("http://backend", TOKEN, backend.transport())
    keys = KeyCache(upstream, clock, TOKEN, grants_max=grants_max)
    keys.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    return keys


async def problem_of(keys: KeyCache, bearer: str = BEARER) -> Problem:
    with pytest.raises(Rejected) as caught:
        await keys.authenticate(bearer.encode(), FORM)
    return caught.value.problem


async def test_a_revoked_key_is_heard_through_the_feed() -> None:
    backend = backend_with_key()
    async with running_gateway(backend) as gateway:
        await until_status(gateway, 200, authorization=BEARER)
        backend.revoke(KEY.text)
        await until_status(gateway, 403, authorization=BEARER)


async def test_an_unknown_key_while_the_backend_is_away_is_unavailable_not_invalid() -> None:
    backend = backend_with_key()
    async with running_gateway(backend) as gateway:
        await until_status(gateway, 200)
        backend.is_down = True
        bearer = f"Bearer {mint_key(KeyKind.SUBMISSION).text}"
        assert await status_of(gateway, authorization=bearer) == 503


async def test_while_the_feed_is_silent_a_known_key_is_verified_behind_the_post() -> None:
    backend, clock = backend_with_key(), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        assert await status_of(gateway, authorization=BEARER) == 200
        backend.verify_gate = asyncio.Event()
        clock.advance(11)
        del backend.keys[KEY.text]
        for _ in range(5):
            assert await status_of(gateway, authorization=BEARER) == 200
        assert len(backend.verified) == 2
        backend.verify_gate.set()
        await until_status(gateway, 403, authorization=BEARER)


async def test_a_known_key_goes_on_for_a_day_of_silence_and_no_longer() -> None:
    backend, clock = backend_with_key(), ManualClock()
    keys = key_cache(backend, clock)
    await keys.authenticate(BEARER.encode(), FORM)
    backend.go_away()
    clock.advance(24 * 3600 - 1)
    assert await keys.authenticate(BEARER.encode(), FORM) is not None
    clock.advance(2)
    assert await problem_of(keys) is Problem.UNAVAILABLE


async def test_a_reset_loses_no_key_when_the_backend_then_goes_away() -> None:
    backend = backend_with_key()
    keys = key_cache(backend, ManualClock())
    await keys.authenticate(BEARER.encode(), FORM)
    backend.go_away()
    keys.apply(ChangesAnswer("epoch-2", 1, True, {}, ()))
    assert await keys.authenticate(BEARER.encode(), FORM) is not None


async def test_a_backend_that_refuses_is_not_asked_with_every_post() -> None:
    backend, clock = backend_with_key(), ManualClock()
    keys = key_cache(backend, clock)
    await keys.authenticate(BEARER.encode(), FORM)
    backend.go_away()
    clock.advance(11)
    for _ in range(100):
        await keys.authenticate(BEARER.encode(), FORM)
        await asyncio.sleep(0)
    assert backend.calls[internal.VERIFY_KEY] == 2


async def test_a_key_revoked_while_it_is_verified_is_refused() -> None:
    backend = backend_with_key()
    backend.verify_gate = asyncio.Event()
    async with running_gateway(backend) as gateway:
        post = asyncio.create_task(status_of(gateway, authorization=BEARER))
        await until(lambda: len(backend.verified) == 1)
        backend.revoke(KEY.text)
        await asyncio.sleep(0.02)
        backend.verify_gate.set()
        assert await post == 403


async def test_a_thousand_posts_with_an_unknown_key_are_one_verification() -> None:
    backend = backend_with_key()
    backend.verify_gate = asyncio.Event()
    keys = key_cache(backend, ManualClock())
    posts = [asyncio.create_task(keys.authenticate(BEARER.encode(), FORM)) for _ in range(1000)]
    await until(lambda: len(backend.verified) == 1)
    posts[0].cancel()
    backend.verify_gate.set()
    grants = await asyncio.gather(*posts[1:])
    assert {grant and grant.key_id for grant in grants} == {KEY.key_id}
    assert len(backend.verified) == 1


async def test_a_refusal_is_forgotten_after_seconds() -> None:
    backend, clock = MiniBackend(), ManualClock()
    keys = key_cache(backend, clock)
    assert await problem_of(keys) is await problem_of(keys) is Problem.INVALID_KEY
    assert len(backend.verified) == 1
    clock.advance(6)
    await problem_of(keys)
    assert len(backend.verified) == 2


async def test_the_key_used_least_recently_makes_room() -> None:
    minted = [mint_key(KeyKind.SUBMISSION) for _ in range(4)]
    granted = {key.text: key_grant(key_id=key.key_id) for key in minted}
    backend = MiniBackend(keys=granted)
    keys = key_cache(backend, ManualClock(), grants_max=3)
    first, second, *others = [f"Bearer {key.text}".encode() for key in minted]
    for bearer in [first, second, others[0], first, others[1]]:
        await keys.authenticate(bearer, FORM)
    asked = len(backend.verified)
    for bearer in [first, *others]:
        await keys.authenticate(bearer, FORM)
    assert (len(keys), len(backend.verified)) == (3, asked)
