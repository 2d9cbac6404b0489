"""The key cache: what a gateway knows of keys, and what it does while the backend is away."""

import asyncio
from typing import Any

import httpx
import pytest

from contracts import internal
from contracts.forms import KeyRestrictions
from contracts.internal import ChangesAnswer
from contracts.keys import KeyKind, mint_key
from contracts.problems import Problem, Rejected
from gateway.config.keys import KeyCache
from gateway.upstream import Upstream
from tests.gateway.test_forms import status_of, until, until_status
from tests.support.builders import NOW_MS, form_config, key_grant
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

KEY = mint_key(KeyKind.SUBMISSION)
BEARER = f"Bearer {KEY.text}"
FORM = form_config()
CLIENT = "192.0.2.7"

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
        await keys.authenticate(bearer.encode(), FORM, CLIENT)
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
    await keys.authenticate(BEARER.encode(), FORM, CLIENT)
    backend.go_away()
    clock.advance(24 * 3600 - 1)
    assert await keys.authenticate(BEARER.encode(), FORM, CLIENT) is not None
    clock.advance(2)
    assert await problem_of(keys) is Problem.UNAVAILABLE


async def test_a_reset_loses_no_key_when_the_backend_then_goes_away() -> None:
    backend = backend_with_key()
    keys = key_cache(backend, ManualClock())
    await keys.authenticate(BEARER.encode(), FORM, CLIENT)
    backend.go_away()
    keys.apply(ChangesAnswer("epoch-2", 1, True, {}, ()))
    assert await keys.authenticate(BEARER.encode(), FORM, CLIENT) is not None


async def test_a_backend_that_refuses_is_not_asked_with_every_post() -> None:
    backend, clock = backend_with_key(), ManualClock()
    keys = key_cache(backend, clock)
    await keys.authenticate(BEARER.encode(), FORM, CLIENT)
    backend.go_away()
    clock.advance(11)
    for _ in range(100):
        await keys.authenticate(BEARER.encode(), FORM, CLIENT)
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
    posts = [
        asyncio.create_task(keys.authenticate(BEARER.encode(), FORM, CLIENT)) for _ in range(1000)
    ]
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
        await keys.authenticate(bearer, FORM, CLIENT)
    asked = len(backend.verified)
    for bearer in [first, *others]:
        await keys.authenticate(bearer, FORM, CLIENT)
    assert (len(keys), len(backend.verified)) == (3, asked)


async def verdict(
    form: dict[str, Any], client: str = CLIENT, kind: KeyKind = KeyKind.SUBMISSION, **terms: Any
) -> Problem | None:
    """What becomes of a post to such a form with a key of these terms."""
    key = mint_key(kind)
    grant = key_grant(key_id=key.key_id, restrictions=KeyRestrictions(**terms))
    keys = key_cache(MiniBackend(keys={key.text: grant}), ManualClock(NOW_MS))
    try:
        await keys.authenticate(f"Bearer {key.text}".encode(), form_config(**form), client)
    except Rejected as rejected:
        return rejected.problem
    return None


@pytest.mark.parametrize(
    ("form", "terms", "problem"),
    [
        ({}, {}, None),
        ({"id": "frm_2"}, {"allowed_forms": ("frm_1", "frm_2")}, None),
        ({"id": "frm_3"}, {"allowed_forms": ("frm_1", "frm_2")}, Problem.INVALID_KEY),
        ({"environment": "staging"}, {"environment": "staging"}, None),
        ({"environment": "production"}, {"environment": "staging"}, Problem.INVALID_KEY),
        ({"is_test": True}, {"is_test": True}, None),
        ({"is_test": False}, {"is_test": True}, Problem.INVALID_KEY),
        ({}, {"expires_at": NOW_MS + 1}, None),
        ({}, {"expires_at": NOW_MS}, Problem.INVALID_KEY),
    ],
)
async def test_a_key_posts_only_where_and_as_long_as_it_may(
    form: dict[str, Any], terms: dict[str, Any], problem: Problem | None
) -> None:
    assert await verdict(form, **terms) is problem


@pytest.mark.parametrize(
    ("client", "is_allowed"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.1", True),
        ("2001:db8:0:ffff::1", True),
        ("2001:db8:1::1", False),
        ("", False),
        ("unix", False),
    ],
)
async def test_a_key_posts_only_from_its_networks(client: str, is_allowed: bool) -> None:
    networks = ("192.0.2.0/24", "2001:db8::/48")
    found = await verdict({}, client, allowed_ips=networks)
    assert found is (None if is_allowed else Problem.IP_NOT_ALLOWED)


@pytest.mark.parametrize("kind", [KeyKind.LIVE, KeyKind.TEST])
async def test_scoped_keys_that_the_backend_grants_may_post(kind: KeyKind) -> None:
    assert await verdict({"is_test": True}, kind=kind) is None


async def test_a_management_key_is_refused_without_a_question() -> None:
    backend = MiniBackend()
    keys = key_cache(backend, ManualClock())
    bearer = f"Bearer {mint_key(KeyKind.MANAGEMENT).text}"
    assert await problem_of(keys, bearer) is Problem.INVALID_KEY
    assert backend.verified == []


async def test_a_known_key_ends_by_itself_even_while_the_backend_is_away() -> None:
    backend, clock = backend_with_key(), ManualClock(NOW_MS)
    ends = KeyRestrictions(expires_at=NOW_MS + 60_000)
    backend.keys[KEY.text] = key_grant(key_id=KEY.key_id, restrictions=ends)
    keys = key_cache(backend, clock)
    await keys.authenticate(BEARER.encode(), FORM, CLIENT)
    backend.go_away()
    clock.advance(59)
    assert await keys.authenticate(BEARER.encode(), FORM, CLIENT) is not None
    clock.advance(1)
    assert await problem_of(keys) is Problem.INVALID_KEY


async def test_a_changed_key_is_asked_for_again() -> None:
    backend = backend_with_key()
    async with running_gateway(backend) as gateway:
        assert await status_of(gateway, authorization=BEARER) == 200
        elsewhere = KeyRestrictions(allowed_ips=("198.51.100.0/24",))
        backend.change_key(KEY.text, key_grant(key_id=KEY.key_id, restrictions=elsewhere))
        await until_status(gateway, 403, authorization=BEARER)
        headers = {"authorization": BEARER}
        answer: httpx.Response = await gateway.post("/v1/f/contact", headers=headers)
        assert answer.json()["type"].endswith("/ip-not-allowed")


async def test_the_backend_is_told_who_presents_a_key_and_that_restrictions_are_heeded() -> None:
    backend = backend_with_key()
    keys = key_cache(backend, ManualClock())
    await keys.authenticate(BEARER.encode(), FORM, CLIENT)
    assert backend.key_questions == [internal.KeyQuestion(KEY.text, CLIENT)]
