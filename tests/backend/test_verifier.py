import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest
from sqlalchemy import select

from backend.caller import Caller
from backend.keys import attempts
from backend.keys import verifier as module
from backend.keys.verifier import SecretHasher, Verifier
from backend.management import Services
from backend.tables import audit_log
from contracts.keys import KeyKind, mint_key
from contracts.problems import Problem, Rejected
from tests.backend.builders import Account
from tests.support.clock import ManualClock

CALLER = Caller("192.0.2.1")

pytestmark = pytest.mark.asyncio


class BcryptSpy:
    """Counts comparisons and the threads they ran on; holds them while ``gate`` is shut."""

    def __init__(self) -> None:
        self.threads: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def checkpw(self, secret: bytes, hashed: bytes) -> bool:
        self.threads.append(threading.get_ident())
        self.gate.wait(10)
        return bcrypt.checkpw(secret, hashed)

    def __getattr__(self, name: str) -> Any:
        return getattr(bcrypt, name)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[BcryptSpy]:
    spy = BcryptSpy()
    monkeypatch.setattr(module, "bcrypt", spy)
    yield spy
    spy.gate.set()


async def until_asked(spy: BcryptSpy, times: int) -> None:
    async with asyncio.timeout(5):
        while len(spy.threads) < times:
            await asyncio.sleep(0.001)


async def test_a_genuine_key_is_compared_once_and_off_the_event_loop(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    for _ in range(3):
        key = await services.verifier.verify(account.key, CALLER)
        assert key is not None
        assert key.account_id == account.principal.account_id
    assert len(spy.threads) == 1
    assert threading.get_ident() not in spy.threads


async def test_the_same_key_presented_at_once_is_compared_once(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    keys = await asyncio.gather(*(services.verifier.verify(account.key, CALLER) for _ in range(10)))
    assert None not in keys
    assert len(spy.threads) == 1


async def test_a_caller_who_leaves_does_not_fail_the_others(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    spy.gate.clear()
    leaver = asyncio.create_task(services.verifier.verify(account.key, CALLER))
    stayer = asyncio.create_task(services.verifier.verify(account.key, CALLER))
    await until_asked(spy, 1)
    leaver.cancel()
    spy.gate.set()
    assert await stayer is not None


async def test_a_key_revoked_by_another_process_is_refused_at_once(
    services: Services, account: Account
) -> None:
    elsewhere = Verifier(services.database, services.clock, services.hasher, services.refusals)
    key = await elsewhere.verify(account.key, CALLER)
    assert key is not None
    await services.keys.revoke(account.principal, key.id)
    assert await elsewhere.verify(account.key, CALLER) is None


async def test_a_key_revoked_while_it_is_compared_is_refused(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    row = (await services.keys.list(account.principal, None, 1))[0]
    spy.gate.clear()
    verification = asyncio.create_task(services.verifier.verify(account.key, CALLER))
    await until_asked(spy, 1)
    await services.keys.revoke(account.principal, row.id)
    spy.gate.set()
    assert await verification is None


async def test_a_wrong_secret_is_compared_once_in_five_seconds(
    services: Services, account: Account, spy: BcryptSpy, clock: ManualClock
) -> None:
    genuine = await services.keys.list(account.principal, None, 1)
    forged = mint_key(KeyKind.MANAGEMENT)
    forged = type(forged)(forged.kind, genuine[0].key_id, forged.secret)
    for _ in range(3):
        assert await services.verifier.verify(forged.text, CALLER) is None
    assert len(spy.threads) == 1
    clock.advance(5)
    assert await services.verifier.verify(forged.text, CALLER) is None
    assert len(spy.threads) == 2


async def test_a_key_of_another_kind_with_the_same_id_is_unknown(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    row = (await services.keys.list(account.principal, None, 1))[0]
    other = mint_key(KeyKind.SUBMISSION)
    other = type(other)(other.kind, row.key_id, other.secret)
    assert await services.verifier.verify(other.text, CALLER) is None
    assert spy.threads == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_remembered_is_bounded(
    services: Services, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    for _ in range(4):
        assert await services.verifier.verify(mint_key(KeyKind.SUBMISSION).text, CALLER) is None
    assert len(services.verifier._refused) == 2


async def test_beyond_a_bounded_queue_bcrypt_is_refused(spy: BcryptSpy) -> None:
    hasher = SecretHasher(cost=4, waiting_max=1)
    hashed = await hasher.hash("secret")
    spy.gate.clear()
    capacity = int(hasher._threads.total_tokens) + 1
    accepted = [asyncio.create_task(hasher.matches("secret", hashed)) for _ in range(capacity)]
    await until_asked(spy, capacity - 1)
    with pytest.raises(Rejected) as refusal:
        await hasher.matches("secret", hashed)
    assert refusal.value.problem is Problem.RATE_LIMITED
    assert refusal.value.headers["Retry-After"] == "2"
    spy.gate.set()
    assert await asyncio.gather(*accepted) == [True] * capacity


async def test_the_cost_is_12_unless_told_otherwise() -> None:
    assert (await SecretHasher().hash("secret")).startswith("$2b$12$")


async def present_wrong(services: Services, key_id: str, caller: Caller) -> Problem | None:
    """Presents a wrong secret for a key that exists."""
    forged = mint_key(KeyKind.MANAGEMENT)
    forged = type(forged)(forged.kind, key_id, forged.secret)
    try:
        assert await services.verifier.verify(forged.text, caller) is None
    except Rejected as rejected:
        return rejected.problem if int(rejected.headers["Retry-After"]) > 0 else None
    return None


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_after_twenty_wrong_secrets_in_a_minute_a_client_is_refused_before_bcrypt(
    services: Services, account: Account, spy: BcryptSpy, clock: ManualClock, address: str
) -> None:
    [row] = await services.keys.list(account.principal, None, 1)
    caller = Caller(address)
    await services.verifier.verify(account.key, caller)
    found = [await present_wrong(services, row.key_id, caller) for _ in range(25)]
    assert found == [None] * 20 + [Problem.RATE_LIMITED] * 5
    assert len(spy.threads) == 21
    # What is known to be genuine needs no bcrypt, and others have their own count.
    assert await services.verifier.verify(account.key, caller) is not None
    assert await present_wrong(services, row.key_id, Caller("2001:db8:0:1::1")) is None
    neighbour = Caller(address[:-1] + "2")
    is_same_client = await present_wrong(services, row.key_id, neighbour) is not None
    assert is_same_client is (":" in address)
    clock.advance(60)
    assert await present_wrong(services, row.key_id, caller) is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_wrong_secrets_at_once_are_limited_like_others(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    [row] = await services.keys.list(account.principal, None, 1)
    found = await asyncio.gather(*(present_wrong(services, row.key_id, CALLER) for _ in range(40)))
    assert (found.count(None), len(spy.threads)) == (20, 20)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_genuine_keys_do_not_count_as_wrong_ones(
    services: Services, account: Account, clock: ManualClock
) -> None:
    for _ in range(30):
        clock.advance(360)
        _, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
        assert await services.verifier.verify(text, CALLER) is not None
    [row] = await services.keys.list(account.principal, None, 1)
    assert await present_wrong(services, row.key_id, CALLER) is None


async def test_what_is_unknown_or_has_ended_never_meets_bcrypt(
    services: Services, account: Account, spy: BcryptSpy, clock: ManualClock
) -> None:
    revoked, revoked_text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    await services.keys.revoke(account.principal, revoked.id)
    terms = {"expires_at": clock.now_ms() + 1_000}
    _, expired_text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION, terms)
    clock.advance(1)
    for text in (mint_key(KeyKind.SUBMISSION).text, revoked_text, expired_text, "ff_sub_x"):
        assert await services.verifier.verify(text, CALLER) is None
    assert spy.threads == []


async def test_every_refusal_is_told_to_the_audit_log(
    services: Services, account: Account, clock: ManualClock
) -> None:
    key, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    await services.keys.revoke(account.principal, key.id)
    for _ in range(3):
        await services.verifier.verify(text, CALLER)
    await services.verifier.verify("ff_sub_x", CALLER)
    await services.refusals.flush()
    async with services.database.read() as connection:
        query = select(audit_log).where(audit_log.c.action == "credential.refused")
        events = (await connection.execute(query)).all()
    found = {(row.target, row.details, row.address): row._mapping["count"] for row in events}
    assert sum(found.values()) == 4
    assert {target for target, _, _ in found} == {key.prefix, None}
    assert {address for _, _, address in found} == {CALLER.address}
    assert text[20:] not in repr(events)


async def test_attempts_of_many_addresses_take_bounded_memory(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "CLIENTS_MAX", 3)
    counted = attempts.Attempts(clock, 1, 60.0, "tries")
    for number in range(10):
        counted.begin(f"192.0.2.{number}")
    assert len(counted) == 3
