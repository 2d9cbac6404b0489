"""The memory of quotas that are used up."""

from contracts.forms import QuotaState
from contracts.internal import ChangesAnswer
from gateway.quota import QuotaCache
from tests.support.builders import NOW_MS, form_config
from tests.support.clock import ManualClock

USED_UP = QuotaState(limit=50, used=50, resets_at=NOW_MS + 3_600_000)


def changes(is_reset: bool = False) -> ChangesAnswer:
    return ChangesAnswer("e", 1, is_reset, {"contact": form_config(revision=2)}, ())


def test_what_is_used_up_is_remembered_until_the_month_ends() -> None:
    clock = ManualClock(NOW_MS)
    quota, form = QuotaCache(clock), form_config()
    quota.learn(form, USED_UP)
    clock.advance(3_599)
    assert quota.is_used_up(form)
    assert not quota.is_used_up(form_config(account_id="acc_2"))
    assert not quota.is_used_up(form_config(is_test=True))
    clock.advance(1)
    assert not quota.is_used_up(form)


def test_a_change_of_one_of_its_forms_and_a_reset_end_it() -> None:
    quota, form = QuotaCache(ManualClock(NOW_MS)), form_config()
    other = form_config(account_id="acc_2")
    for account in (form, other):
        quota.learn(account, USED_UP)
    quota.apply(changes())
    assert [quota.is_used_up(account) for account in (form, other)] == [False, True]
    quota.apply(changes(is_reset=True))
    assert not quota.is_used_up(other)


def test_a_flood_of_accounts_pushes_out_only_what_posted_least_recently() -> None:
    quota = QuotaCache(ManualClock(NOW_MS))
    accounts = [form_config(account_id=f"acc_{n}") for n in range(10_001)]
    for account in accounts[:-1]:
        quota.learn(account, USED_UP)
    assert quota.is_used_up(accounts[0])
    quota.learn(accounts[-1], USED_UP)
    known = [quota.is_used_up(accounts[n]) for n in (0, 1, 2, 10_000)]
    assert known == [True, False, True, True]
