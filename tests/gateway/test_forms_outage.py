"""The form cache while the backend is silent, away, or has started anew."""

import asyncio

import pytest

from contracts import internal
from contracts.forms import FormStatus
from contracts.internal import ChangesAnswer
from contracts.problems import Problem
from tests.gateway.test_forms import form_cache, problem_of, status_of, until, until_status
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend

pytestmark = pytest.mark.asyncio


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


async def test_while_the_feed_is_silent_a_held_form_is_looked_up_behind_the_post() -> None:
    backend, clock = MiniBackend(forms={"contact": form_config()}), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        clock.advance(11)
        backend.forms["contact"] = form_config(status=FormStatus.PAUSED, revision=2)
        assert await status_of(gateway) == 200
        await until_status(gateway, 403)


async def test_no_post_to_a_held_form_waits_for_a_backend_that_hangs() -> None:
    backend, clock = MiniBackend(forms={"contact": form_config()}), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        backend.lookup_gate = asyncio.Event()
        clock.advance(11)
        async with asyncio.timeout(2):
            assert {await status_of(gateway) for _ in range(20)} == {200}
        assert len(backend.lookups) == 2
        backend.lookup_gate.set()


async def test_stale_forms_are_looked_up_again_together_and_each_once() -> None:
    slugs = [f"form-{n}" for n in range(300)]
    backend = MiniBackend(forms={slug: form_config(slug=slug) for slug in slugs})
    clock = ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await asyncio.gather(*(status_of(gateway, slug) for slug in slugs))
        backend.lookups.clear()
        clock.advance(11)
        for _ in range(3):
            await asyncio.gather(*(status_of(gateway, slug) for slug in slugs))
    asked = [slug for batch in backend.lookups for slug in batch]
    assert sorted(asked) == sorted(slugs)
    assert len(backend.lookups) < 30


async def test_a_backend_that_refuses_is_not_asked_with_every_post() -> None:
    backend, clock = MiniBackend(forms={"contact": form_config()}), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        backend.go_away()
        clock.advance(11)
        before = backend.calls[internal.LOOKUP]
        for _ in range(100):
            await status_of(gateway)
        assert backend.calls[internal.LOOKUP] - before == 1
        clock.advance(1)
        await status_of(gateway)
        await until(lambda: backend.calls[internal.LOOKUP] - before == 2)


async def test_a_form_is_served_for_a_day_of_silence_and_no_longer() -> None:
    backend, clock = MiniBackend(forms={"contact": form_config()}), ManualClock()
    forms = form_cache(backend, clock)
    forms.apply(ChangesAnswer(backend.epoch, 1, True, {}, ()))
    await forms.resolve("contact")
    backend.go_away()
    clock.advance(24 * 3600 - 1)
    assert (await forms.resolve("contact")).slug == "contact"
    clock.advance(2)
    assert await problem_of(forms) is Problem.UNAVAILABLE
    backend.is_down = False
    assert (await forms.resolve("contact")).slug == "contact"


async def test_a_reset_is_survived_when_the_backend_then_goes_away() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    await forms.resolve("contact")
    backend.go_away()
    forms.apply(ChangesAnswer("epoch-2", 1, True, {}, ()))
    for _ in range(3):
        assert (await forms.resolve("contact")).slug == "contact"
        await asyncio.sleep(0.01)


async def test_after_a_reset_all_forms_are_looked_up_again_in_batches() -> None:
    slugs = [f"form-{n}" for n in range(1000)]
    backend = MiniBackend(forms={slug: form_config(slug=slug) for slug in slugs})
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    await asyncio.gather(*map(forms.resolve, slugs))
    backend.lookups.clear()
    backend.epoch = "epoch-2"
    forms.apply(ChangesAnswer("epoch-2", 1, True, {}, ()))
    await until(lambda: sum(map(len, backend.lookups)) == 1000)
    assert [len(batch) for batch in backend.lookups] == [256, 256, 256, 232]


async def test_a_sweep_that_the_backend_interrupts_goes_on_with_the_next_word_of_the_feed() -> None:
    slugs = [f"form-{n}" for n in range(300)]
    backend = MiniBackend(forms={slug: form_config(slug=slug) for slug in slugs})
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    await asyncio.gather(*map(forms.resolve, slugs))
    backend.lookups.clear()
    backend.epoch, backend.status = "epoch-2", 503
    forms.apply(ChangesAnswer("epoch-2", 1, True, {}, ()))
    await asyncio.sleep(0.05)
    assert (backend.calls[internal.LOOKUP], backend.lookups) == (3, [])
    backend.status = None
    forms.apply(ChangesAnswer("epoch-2", 1, False, {}, ()))
    await until(lambda: sum(map(len, backend.lookups)) == 300)


async def test_a_gap_of_the_feed_loses_no_form() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await status_of(gateway)
        backend.lookup_gate = asyncio.Event()
        backend.oldest_revision = 10
        backend.forms["contact"] = form_config(status=FormStatus.PAUSED, revision=10)
        backend.revision = 10
        backend.beat()
        await until(lambda: len(backend.lookups) == 2)
        assert await status_of(gateway) == 200
        backend.lookup_gate.set()
        await until_status(gateway, 403)
