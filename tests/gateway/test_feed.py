"""The feed: that its silence and its end are seen, and where it goes on after a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from structlog.testing import capture_logs

from contracts.internal import ChangesAnswer
from gateway.config.feed import Feed, FeedState
from gateway.upstream import Upstream
from tests.gateway.test_forms import until
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.mini_backend import TOKEN, MiniBackend

pytestmark = pytest.mark.asyncio


class ResetAtOnce(httpx.AsyncBaseTransport):
    """Fails the first request as anyio does on uvloop whose connection is reset at once."""

    def __init__(self, backend: MiniBackend) -> None:
        self._transport = backend.transport()
        self.failed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.failed:
            self.failed += 1
            raise AttributeError("'NoneType' object has no attribute 'getpeername'")
        return await self._transport.handle_async_request(request)


class Heard:
    """A cache that notes what it is told, or fails."""

    def __init__(self) -> None:
        self.changes: list[ChangesAnswer] = []
        self.fails = False

    def apply(self, changes: ChangesAnswer) -> None:
        if self.fails:
            raise RuntimeError("a defect")
        self.changes.append(changes)


def feed_of(backend: MiniBackend, clock: ManualClock, cache: Heard) -> Feed:
    return Feed(Upstream("http://backend", TOKEN, backend.transport()), [cache], clock)


@asynccontextmanager
async def following(feed: Feed) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(feed.follow())
    yield task
    task.cancel()
    with suppress(asyncio.CancelledError, RuntimeError):
        await task


async def test_a_connection_that_is_reset_at_once_does_not_end_the_feed() -> None:
    transport, heard = ResetAtOnce(MiniBackend()), Heard()
    feed = Feed(Upstream("http://backend", TOKEN, transport), [heard], ManualClock())
    async with following(feed):
        await until(lambda: len(heard.changes) == 1)
    assert transport.failed == 1


async def test_the_first_answer_is_a_reset_and_later_ones_are_changes() -> None:
    backend, heard = MiniBackend(), Heard()
    async with following(feed_of(backend, ManualClock(), heard)):
        await until(lambda: len(heard.changes) == 1)
        backend.change("contact", form_config(revision=2))
        await until(lambda: len(heard.changes) == 2)
    assert [changes.is_reset for changes in heard.changes] == [True, False]
    assert heard.changes[1].forms == {"contact": form_config(revision=2)}


async def test_ten_seconds_without_a_word_are_silence() -> None:
    backend, clock, heard = MiniBackend(), ManualClock(), Heard()
    feed = feed_of(backend, clock, heard)
    assert (feed.state, feed.silent_seconds) == (FeedState.WAITING, None)
    async with following(feed):
        await until(lambda: feed.state is FeedState.HEARD)
        clock.advance(9.5)
        assert feed.state is FeedState.HEARD
        clock.advance(0.5)
        assert (feed.state, feed.silent_seconds) == (FeedState.SILENT, 10.0)
        backend.beat()
        await until(lambda: feed.state is FeedState.HEARD)


async def test_a_feed_that_is_interrupted_says_so_once_and_goes_on() -> None:
    backend, heard = MiniBackend(), Heard()
    with capture_logs() as lines:
        async with following(feed_of(backend, ManualClock(), heard)):
            await until(lambda: len(heard.changes) == 1)
            backend.cut_feed()
            await asyncio.sleep(0.4)
            backend.is_feed_cut = False
            backend.change("contact", form_config(revision=2))
            await until(lambda: len(heard.changes) == 2)
    assert [line["event"] for line in lines] == ["feed interrupted", "feed heard again"]
    assert not heard.changes[1].is_reset


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_feed_whose_task_is_dead_does_not_pass_for_a_quiet_one(is_cancelled: bool) -> None:
    backend, heard = MiniBackend(), Heard()
    feed = feed_of(backend, ManualClock(), heard)
    async with following(feed) as task:
        await until(lambda: feed.state is FeedState.HEARD)
        if is_cancelled:
            task.cancel()
        heard.fails = True
        backend.beat()
        await until(task.done)
        assert feed.state is FeedState.ENDED


async def test_a_feed_that_resumes_gets_only_what_changed_meanwhile() -> None:
    backend, heard = MiniBackend(forms={"contact": form_config()}, revision=7), Heard()
    backend.change("contact", form_config(revision=8))
    feed = feed_of(backend, ManualClock(), heard)
    feed.resume("epoch-1", 7)
    async with following(feed):
        await until(lambda: len(heard.changes) == 1)
    assert (heard.changes[0].is_reset, list(heard.changes[0].forms)) == (False, ["contact"])
