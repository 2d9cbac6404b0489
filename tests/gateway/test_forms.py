"""The form cache and the feed: what a gateway knows, and how soon it hears of a change."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from contracts.forms import FormStatus
from contracts.internal import ChangesAnswer
from contracts.problems import Problem, Rejected
from gateway.config.forms import FormCache
from gateway.upstream import Upstream
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

pytestmark = pytest.mark.asyncio


async def status_of(gateway: httpx.AsyncClient, slug: str = "contact", **headers: str) -> int:
    return (await gateway.post(f"/v1/f/{slug}", data={"a": "b"}, headers=headers)).status_code


async def until_status(gateway: httpx.AsyncClient, status: int, **headers: str) -> None:
    async with asyncio.timeout(5):
        while await status_of(gateway, **headers) != status:
            await asyncio.sleep(0)


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0)


def form_cache(backend: MiniBackend, clock: ManualClock, forms_max: int = 1_000) -> FormCache:
    upstream = Upstream("http://backend", TOKEN, backend.transport())
    return FormCache(upstream, clock, forms_max=forms_max)


async def problem_of(forms: FormCache) -> Problem:
    with pytest.raises(Rejected) as caught:
        await forms.resolve("contact")
    return caught.value.problem


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


async def test_an_absence_is_forgotten_after_seconds() -> None:
    backend, clock = MiniBackend(), ManualClock()
    async with running_gateway(backend, clock) as gateway:
        await status_of(gateway)
        clock.advance(6)
        await status_of(gateway)
    assert len(backend.lookups) == 2


async def test_a_form_that_cannot_be_decoded_is_unavailable_and_spoils_no_other() -> None:
    backend = MiniBackend(
        forms={"contact": form_config(), "newer": form_config(slug="newer")},
        undecodable={"newer"},
    )
    async with running_gateway(backend) as gateway:
        newer, known = await asyncio.gather(status_of(gateway, "newer"), status_of(gateway))
        assert (newer, known) == (503, 200)


async def test_a_form_that_becomes_undecodable_is_unavailable_not_unknown_and_not_live() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        await status_of(gateway)
        backend.undecodable = {"contact"}
        backend.change("contact", form_config(revision=2))
        await until_status(gateway, 503)


async def test_a_caller_that_gives_up_early_leaves_the_look_up_to_the_others() -> None:
    backend = MiniBackend(forms={"contact": form_config()}, lookup_gate=asyncio.Event())
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    patient = asyncio.create_task(forms.resolve("contact"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(forms.resolve("contact"), 0.02)
    assert backend.lookup_gate is not None
    backend.lookup_gate.set()
    assert (await patient).slug == "contact"
    assert len(backend.lookups) == 1


async def test_the_least_recently_used_form_makes_room() -> None:
    backend = MiniBackend(forms={slug: form_config(slug=slug) for slug in "abcd"})
    forms = form_cache(backend, ManualClock(), forms_max=3)
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    for slug in "abcad":
        await forms.resolve(slug)
    asked = len(backend.lookups)
    for slug in "acd":
        await forms.resolve(slug)
    assert (len(forms), len(backend.lookups)) == (3, asked)


async def test_a_form_made_while_it_is_looked_up_is_not_taken_for_absent() -> None:
    backend = MiniBackend(lookup_gate=asyncio.Event())
    async with running_gateway(backend) as gateway:
        post = asyncio.create_task(status_of(gateway))
        await until(lambda: len(backend.lookups) == 1)
        backend.change("contact", form_config(revision=2))
        await asyncio.sleep(0.02)
        assert backend.lookup_gate is not None
        backend.lookup_gate.set()
        assert await post == 200


async def test_a_form_deleted_while_it_is_looked_up_is_looked_up_once_more() -> None:
    backend = MiniBackend(forms={"contact": form_config()}, lookup_gate=asyncio.Event())
    async with running_gateway(backend) as gateway:
        post = asyncio.create_task(status_of(gateway))
        await until(lambda: len(backend.lookups) == 1)
        backend.change("contact", None)
        await asyncio.sleep(0.02)
        assert backend.lookup_gate is not None
        backend.lookup_gate.set()
        assert await post == 404
    assert backend.lookups == [["contact"], ["contact"]]


async def test_the_change_of_another_form_does_not_cost_a_second_look_up() -> None:
    backend = MiniBackend(
        forms={"contact": form_config(), "other": form_config(slug="other")},
        lookup_gate=asyncio.Event(),
    )
    async with running_gateway(backend) as gateway:
        post = asyncio.create_task(status_of(gateway))
        await until(lambda: len(backend.lookups) == 1)
        backend.change("other", form_config(slug="other", revision=2))
        await asyncio.sleep(0.02)
        assert backend.lookup_gate is not None
        backend.lookup_gate.set()
        assert await post == 200
        assert await status_of(gateway) == 200
    assert backend.lookups == [["contact"]]


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


async def test_a_document_of_the_feed_does_not_replace_a_newer_one() -> None:
    backend = MiniBackend(forms={"contact": form_config(revision=7, name="newer")}, revision=7)
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    await forms.resolve("contact")
    forms.apply(ChangesAnswer("epoch-1", 5, False, {"contact": form_config(revision=5)}, ()))
    assert (await forms.resolve("contact")).name == "newer"


async def test_forms_share_what_they_have_in_common() -> None:
    members = {"allowed_origins": ("https://a.example",), "redirect_hosts": ("a.example",)}
    slugs = ["one", "two"]
    backend = MiniBackend(forms={slug: form_config(slug=slug, **members) for slug in slugs})
    forms = form_cache(backend, ManualClock())
    forms.apply(ChangesAnswer("epoch-1", 1, True, {}, ()))
    one, two = [await forms.resolve(slug) for slug in slugs]
    assert one.allowed_origins is two.allowed_origins
    assert one.redirect_hosts is two.redirect_hosts
    assert one.account_id is two.account_id
    assert one.honeypot_field is two.honeypot_field
