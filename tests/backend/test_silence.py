"""The silence alarm: who is told of what, and that nobody is told twice."""

import asyncio
from datetime import date, timedelta
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select

from backend.forms.store import FormRow
from backend.management import Services
from backend.silence.rules import Silence, find_silence
from backend.silence.service import INTERVAL_SECONDS, SilenceAlarm
from backend.tables import form_days, form_silences, outbox
from contracts.usage import day_of
from tests.backend.builders import Account, add_form
from tests.support.clock import ManualClock

DAY_SECONDS = 24 * 3600


def daily(days: int, per_day: int = 1) -> dict[int, int]:
    """A form that received every day."""
    return dict.fromkeys(range(100, 100 + days), per_day)


@pytest.mark.parametrize(
    ("received", "quiet_days", "is_silent"),
    [
        (daily(10), 3, False),
        (daily(10), 4, True),
        # Weekends: a gap of three days is nothing new, nor are six.
        ({100: 2, 101: 2, 104: 2, 105: 2, 108: 2}, 6, False),
        ({100: 2, 101: 2, 104: 2, 105: 2, 108: 2}, 7, True),
        # Too little to be missed.
        (daily(4, per_day=100), 50, False),
        (daily(9), 50, False),
        (daily(5), 50, False),
        (daily(5, per_day=2), 4, True),
        # What is more than 60 days before its last day does not count, as a gap or otherwise.
        ({44: 100} | daily(5, per_day=2), 4, True),
        ({45: 100} | daily(5, per_day=2), 4, False),
        (dict.fromkeys((1, 2, 3, 4), 100) | {100: 1}, 50, False),
    ],
)
def test_a_silence_is_longer_than_three_days_and_twice_the_longest_gap(
    received: dict[int, int], quiet_days: int, is_silent: bool
) -> None:
    last_day = max(received)
    today = last_day + quiet_days + 1
    expected = Silence(last_day + 1, quiet_days) if is_silent else None
    assert find_silence(received, 0, today) == expected


def test_days_before_the_last_change_of_the_form_do_not_count() -> None:
    assert find_silence(daily(10), changed_on=120, today=124) is None
    assert find_silence(daily(10), changed_on=120, today=125) == Silence(110, 15)


class Days:
    """What forms receive, day by day, while the clock goes on."""

    def __init__(self, services: Services, clock: ManualClock) -> None:
        self._services = services
        self._clock = clock

    async def receive(self, form: FormRow, **counts: int) -> None:
        """Counts two submissions of today."""
        usual = {"submissions": 2, "spam": 0, "held": 0, "test": 0, "file_bytes": 0, "probes": 0}
        row = {"account_id": form.account_id, "form_id": form.id, "day": self.today()}
        async with self._services.database.write() as connection:
            await connection.execute(insert(form_days).values(row | usual | counts))

    async def live(self, days: int, *forms: FormRow, **counts: int) -> None:
        """Days on which these forms receive, and after which it is the next morning."""
        for _ in range(days):
            for form in forms:
                await self.receive(form, **counts)
            self.pass_by(1)

    def pass_by(self, days: int) -> None:
        """Days on which nothing comes."""
        self._clock.advance(days * DAY_SECONDS)

    def today(self) -> str:
        return day_of(self._clock.now_ms())

    def ago(self, days: int) -> str:
        return (date.fromisoformat(self.today()) - timedelta(days)).isoformat()


@pytest.fixture
def days(services: Services, clock: ManualClock) -> Days:
    return Days(services, clock)


@pytest.fixture
def alarm(services: Services, clock: ManualClock) -> SilenceAlarm:
    return SilenceAlarm(services.database, clock)


async def notices(services: Services) -> list[dict[str, Any]]:
    """What the owners are told, in order."""
    async with services.database.read() as connection:
        statement = select(outbox).order_by(outbox.c.created_at, outbox.c.form_id)
        return [dict(row._mapping) for row in await connection.execute(statement)]


@pytest.mark.asyncio
async def test_owners_are_told_once_of_each_silence(
    services: Services, account: Account, alarm: SilenceAlarm, days: Days
) -> None:
    form = await add_form(services, account, name="Contact")
    await days.live(7, form)
    days.pass_by(3)
    await alarm.check()
    assert await notices(services) == []
    days.pass_by(1)
    for _ in range(2):
        await alarm.check()
    [notice] = await notices(services)
    assert (notice["account_id"], notice["form_id"]) == (account.principal.account_id, form.id)
    assert notice["event"] == "form.silent"
    assert orjson.loads(notice["details"]) == {
        "form_name": "Contact",
        "days": 4,
        "since": f"{days.ago(4)}T00:00:00.000Z",
    }
    days.pass_by(40)
    await alarm.check()
    assert len(await notices(services)) == 1


@pytest.mark.asyncio
async def test_a_form_that_receives_again_is_armed_again(
    services: Services, account: Account, alarm: SilenceAlarm, days: Days
) -> None:
    form = await add_form(services, account)
    await days.live(7, form)
    days.pass_by(4)
    await alarm.check()
    # From now on a pause of five days is nothing that it did not do before.
    await days.live(5, form)
    days.pass_by(10)
    await alarm.check()
    assert len(await notices(services)) == 1
    days.pass_by(1)
    await alarm.check()
    assert [orjson.loads(notice["details"])["days"] for notice in await notices(services)] == [
        4,
        11,
    ]


@pytest.mark.asyncio
async def test_only_live_forms_with_the_alarm_on_are_missed(
    services: Services, account: Account, alarm: SilenceAlarm, days: Days
) -> None:
    forms = [
        await add_form(services, account, **members)
        for members in (
            {},
            {"silence_alarm_enabled": False},
            {"status": "paused"},
            {"mode": "test"},
        )
    ]
    deleted = await add_form(services, account)
    await days.live(7, *forms, deleted)
    await services.forms.delete(account.principal, deleted.id)
    days.pass_by(4)
    await alarm.check()
    assert [notice["form_id"] for notice in await notices(services)] == [forms[0].id]


@pytest.mark.asyncio
@pytest.mark.parametrize("counts", [{"submissions": 0, "spam": 5}, {"submissions": 3, "probes": 3}])
async def test_spam_and_probes_do_not_break_a_silence(
    services: Services,
    account: Account,
    alarm: SilenceAlarm,
    days: Days,
    counts: dict[str, int],
) -> None:
    form = await add_form(services, account)
    await days.live(7, form)
    await days.live(4, form, **counts)
    await alarm.check()
    [notice] = await notices(services)
    assert orjson.loads(notice["details"])["days"] == 4


@pytest.mark.asyncio
async def test_a_form_that_was_paused_is_given_time(
    services: Services, account: Account, alarm: SilenceAlarm, days: Days
) -> None:
    form = await add_form(services, account)
    await days.live(7, form)
    await services.forms.change(account.principal, form.id, {"status": "paused"})
    days.pass_by(20)
    await services.forms.change(account.principal, form.id, {"status": "live"})
    days.pass_by(4)
    await alarm.check()
    assert await notices(services) == []
    days.pass_by(1)
    await alarm.check()
    [notice] = await notices(services)
    assert orjson.loads(notice["details"])["days"] == 25


@pytest.mark.asyncio
async def test_several_backends_tell_once(
    services: Services, account: Account, clock: ManualClock, days: Days
) -> None:
    forms = [await add_form(services, account) for _ in range(3)]
    await days.live(7, *forms)
    days.pass_by(4)
    backends = [SilenceAlarm(services.database, clock) for _ in range(4)]
    await asyncio.gather(*(backend.check() for backend in backends))
    told = [notice["form_id"] for notice in await notices(services)]
    assert sorted(told) == sorted(form.id for form in forms)


@pytest.mark.asyncio
async def test_it_looks_once_an_hour(
    services: Services, account: Account, alarm: SilenceAlarm, clock: ManualClock, days: Days
) -> None:
    form = await add_form(services, account)
    await days.live(7, form)
    # Half an hour before the day ends after which the silence is one.
    days.pass_by(3)
    clock.advance(DAY_SECONDS - clock.now_ms() // 1000 % DAY_SECONDS - INTERVAL_SECONDS / 2)
    await alarm.sweep()
    clock.advance(INTERVAL_SECONDS - 1)
    await alarm.sweep()
    assert await notices(services) == []
    clock.advance(1)
    await alarm.sweep()
    assert len(await notices(services)) == 1


@pytest.mark.asyncio
async def test_the_note_on_a_deleted_form_is_forgotten(
    services: Services, account: Account, alarm: SilenceAlarm, days: Days
) -> None:
    form = await add_form(services, account)
    await days.live(7, form)
    days.pass_by(4)
    await alarm.check()
    await services.forms.delete(account.principal, form.id)
    await alarm.check()
    async with services.database.read() as connection:
        assert (await connection.execute(select(form_silences))).all() == []
