"""The lease book and the task that speaks for it."""

import asyncio
from collections.abc import Callable

import pytest

from contracts.forms import QuotaState
from contracts.internal import ChangesAnswer
from contracts.leases import Lease, LeaseStatement
from contracts.problems import Rejected
from gateway.lease_keeper import LeaseKeeper
from gateway.leases import LeaseBook
from gateway.quota import QuotaCache
from gateway.upstream import UpstreamUnavailable
from tests.support.builders import NOW_MS, form_config
from tests.support.clock import ManualClock

MONTH_END = NOW_MS + 3_600_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_MS)


@pytest.fixture
def book(clock: ManualClock) -> LeaseBook:
    """A book whose session has been acknowledged, with a lease of three units."""
    book = LeaseBook("gateway-1", {}, clock, sessions())
    state(book)
    book.learn([lease()], book.page)
    return book


def sessions() -> Callable[[], str]:
    names = iter(("s1", "s2", "s3"))
    return lambda: next(names)


def lease(id: str = "lse_1", granted: int = 3) -> Lease:
    return Lease(id, "acc_1", granted, MONTH_END)


def state(book: LeaseBook) -> LeaseStatement:
    """Makes a statement, which the backend takes."""
    statement = book.statement()
    book.acknowledge(statement, statement.session)
    return statement


def recall(*ids: str, holder: str = "gateway-1", epoch: str = "e") -> ChangesAnswer:
    return ChangesAnswer(epoch, 1, False, {}, (), dict.fromkeys(ids, holder))


def test_no_more_is_taken_than_was_granted(book: LeaseBook) -> None:
    assert [book.take("acc_1") for _ in range(4)] == ["lse_1"] * 3 + [None]
    assert book.take("acc_2") is None
    assert (book.unspent, book.spooled) == (0, 3)


def test_a_lease_that_is_told_again_is_the_same(book: LeaseBook) -> None:
    book.take("acc_1")
    book.learn([lease(granted=5)], book.page)
    book.learn([lease()], book.page)
    assert book.unspent == 4


def test_before_the_session_is_acknowledged_nothing_is_asked_for_or_learnt(
    clock: ManualClock,
) -> None:
    book = LeaseBook("gateway-1", {}, clock)
    assert book.asker is None
    book.learn([lease()], book.page)
    assert book.take("acc_1") is None


def test_a_session_follows_the_one_that_the_backend_knows(clock: ManualClock) -> None:
    book = LeaseBook("gateway-1", {"lse_0": 2}, clock, sessions())
    first = book.statement()
    book.acknowledge(first, "s0")
    assert (book.asker, book.due.is_set()) == (None, True)
    assert state(book) == LeaseStatement("gateway-1", "s1", "s0", {"lse_0": 2})
    assert book.asker is not None


def test_what_ended_is_stated_until_all_of_it_is_settled(book: LeaseBook) -> None:
    book.take("acc_1")
    book.apply(recall("lse_1"))
    assert state(book).ended == {"lse_1": 1}
    assert not book.due.is_set()
    book.settle("lse_1")
    assert book.due.is_set()
    assert state(book).ended == {"lse_1": 0}
    assert state(book).ended == {}


def test_a_recall_of_a_lease_nobody_told_of_ends_it_all_the_same(book: LeaseBook) -> None:
    book.apply(recall("lse_2"))
    book.apply(recall("lse_3", holder="gateway-2"))
    assert book.statement().ended == {"lse_2": 0}
    book.learn([Lease("lse_2", "acc_2", 5, MONTH_END)], book.page)
    assert book.take("acc_2") is None


def test_an_answer_from_before_a_lease_was_forgotten_does_not_bring_it_back(
    book: LeaseBook,
) -> None:
    page = book.page
    book.apply(recall("lse_1"))
    book.learn([lease()], page)
    assert book.take("acc_1") is None
    state(book)
    book.learn([lease()], page)
    assert book.take("acc_1") is None


def test_a_drained_lease_is_ended_so_that_units_without_cost_come_back(book: LeaseBook) -> None:
    book.take("acc_1")
    book.take("acc_1")
    book.settle("lse_1")
    assert not book.due.is_set()
    book.settle("lse_1")
    assert book.statement().ended == {"lse_1": 0}
    assert book.take("acc_1") is None


def test_what_was_not_spooled_is_put_back(book: LeaseBook) -> None:
    book.put_back(book.take("acc_1"))
    book.put_back(None)
    assert (book.unspent, book.spooled, book.due.is_set()) == (3, 0, False)


def test_a_lease_ends_with_its_month(book: LeaseBook, clock: ManualClock) -> None:
    clock.advance(3_600)
    assert book.take("acc_1") is None
    assert book.statement().ended == {"lse_1": 0}


def test_a_lease_that_was_not_told_of_for_a_day_is_given_back(
    clock: ManualClock,
) -> None:
    book = LeaseBook("gateway-1", {}, clock)
    state(book)
    book.learn([Lease("lse_1", "acc_1", 3, NOW_MS + 10**10)], book.page)
    clock.advance(24 * 3600 - 1)
    book.end_idle()
    assert book.unspent == 3
    clock.advance(1)
    book.end_idle()
    assert book.unspent == 0


def test_a_restored_backend_begins_a_new_session(book: LeaseBook) -> None:
    book.take("acc_1")
    book.apply(recall(epoch="e"))
    book.apply(recall(epoch="restored"))
    assert (book.asker, book.unspent) == (None, 0)
    assert book.statement() == LeaseStatement("gateway-1", "s2", "s1", {"lse_1": 1})


def test_a_book_that_is_closed_gives_back_even_what_it_never_heard_of(book: LeaseBook) -> None:
    book.close()
    assert state(book) == LeaseStatement("gateway-1", "s2", "s1", {"lse_1": 0})
    assert book.asker is None


@pytest.mark.asyncio
async def test_a_recall_is_answered_at_once_and_repeated_until_it_is_heard(
    book: LeaseBook,
) -> None:
    heard: list[LeaseStatement] = []
    done = asyncio.Event()

    async def answer(statement: LeaseStatement) -> str:
        heard.append(statement)
        if len(heard) == 1:
            raise UpstreamUnavailable("away")
        done.set()
        return statement.session

    keeper = asyncio.create_task(LeaseKeeper(book, answer).run())
    book.apply(recall("lse_1"))
    async with asyncio.timeout(20):
        await done.wait()
    keeper.cancel()
    assert [statement.ended for statement in heard] == [{"lse_1": 0}] * 2


@pytest.mark.asyncio
async def test_at_the_stop_everything_is_given_back_if_the_backend_is_there(
    book: LeaseBook,
) -> None:
    async def answer(statement: LeaseStatement) -> str:
        raise UpstreamUnavailable("away")

    await LeaseKeeper(book, answer).give_back()
    assert (book.due.is_set(), book.unspent) == (True, 0)


def test_a_refusal_for_units_on_lease_is_remembered_for_seconds_only(clock: ManualClock) -> None:
    cache, form = QuotaCache(clock), form_config()
    cache.learn(form, QuotaState(limit=100, used=60, resets_at=MONTH_END))
    with pytest.raises(Rejected):
        cache.check(form)
    clock.advance(10)
    cache.check(form)
    cache.learn(form, QuotaState(limit=100, used=100, resets_at=MONTH_END))
    clock.advance(60)
    assert cache.is_used_up(form)
