import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import bcrypt
import pytest

from backend.keys import verifier as module
from backend.keys.verifier import SecretHasher, Verifier
from backend.management import Services
from contracts.keys import KeyKind, mint_key
from contracts.problems import Problem, Rejected
from tests.backend.builders import Account
from tests.support.clock import ManualClock

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
        key = await services.verifier.verify(account.key)
        assert key is not None
        assert key.account_id == account.principal.account_id
    assert len(spy.threads) == 1
    assert threading.get_ident() not in spy.threads


async def test_the_same_key_presented_at_once_is_compared_once(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    keys = await asyncio.gather(*(services.verifier.verify(account.key) for _ in range(10)))
    assert None not in keys
    assert len(spy.threads) == 1


async def test_a_caller_who_leaves_does_not_fail_the_others(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    spy.gate.clear()
    leaver = asyncio.create_task(services.verifier.verify(account.key))
    stayer = asyncio.create_task(services.verifier.verify(account.key))
    await until_asked(spy, 1)
    leaver.cancel()
    spy.gate.set()
    assert await stayer is not None


async def test_a_key_revoked_by_another_process_is_refused_at_once(
    services: Services, account: Account
) -> None:
    elsewhere = Verifier(services.database, services.clock, services.hasher)
    key = await elsewhere.verify(account.key)
    assert key is not None
    await services.keys.revoke(account.principal, key.id)
    assert await elsewhere.verify(account.key) is None


async def test_a_key_revoked_while_it_is_compared_is_refused(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    row = (await services.keys.list(account.principal, None, 1))[0]
    spy.gate.clear()
    verification = asyncio.create_task(services.verifier.verify(account.key))
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
        assert await services.verifier.verify(forged.text) is None
    assert len(spy.threads) == 1
    clock.advance(5)
    assert await services.verifier.verify(forged.text) is None
    assert len(spy.threads) == 2


async def test_a_key_of_another_kind_with_the_same_id_is_unknown(
    services: Services, account: Account, spy: BcryptSpy
) -> None:
    row = (await services.keys.list(account.principal, None, 1))[0]
    other = mint_key(KeyKind.SUBMISSION)
    other = type(other)(other.kind, row.key_id, other.secret)
    assert await services.verifier.verify(other.text) is None
    assert spy.threads == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_what_is_remembered_is_bounded(
    services: Services, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 2)
    for _ in range(4):
        assert await services.verifier.verify(mint_key(KeyKind.SUBMISSION).text) is None
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
