"""The Turnstile check: a refusal is never taken for an outage, and an outage ends in time."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from contracts.forms import TurnstileConfig, TurnstileOnOutage
from contracts.problems import Problem, Rejected, problem_document
from contracts.runtime.clock import Clock
from gateway.challenge import Challenge, ChallengeVerdict
from tests.support.clock import ManualClock
from tests.support.mini_turnstile import SECRET, MiniTurnstile, Mode, running_turnstile

pytestmark = pytest.mark.asyncio

REFUSE, HOLD, ACCEPT = TurnstileOnOutage
PASSED = ChallengeVerdict.PASSED
OUTAGES = [Mode.STATUS, Mode.HTML, Mode.RESET, Mode.HALF, Mode.ENDLESS, Mode.REDIRECT]
Handler = Callable[[httpx.Request], Any]


def config(on_outage: TurnstileOnOutage = REFUSE, secret: str = SECRET) -> TurnstileConfig:
    return TurnstileConfig(secret, on_outage, skip_with_key=True)


@pytest.fixture(scope="module")
def server() -> Iterator[MiniTurnstile]:
    with running_turnstile() as stand_in:
        yield stand_in


@pytest.fixture
def turnstile(server: MiniTurnstile) -> MiniTurnstile:
    server.reset()
    return server


@pytest_asyncio.fixture
async def challenge(turnstile: MiniTurnstile) -> AsyncIterator[Challenge]:
    made = Challenge(turnstile.url)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def impatient(turnstile: MiniTurnstile) -> AsyncIterator[Challenge]:
    """One that gives the first try 0.2 s, and both together 0.4 s."""
    made = Challenge(turnstile.url, budget_seconds=0.4, first_try_seconds=0.2)
    yield made
    await made.close()


@asynccontextmanager
async def answered_by(handler: Handler, clock: Clock | None = None) -> AsyncIterator[Challenge]:
    made = Challenge("https://turnstile.test/", httpx.MockTransport(handler), clock)
    yield made
    await made.close()


async def verify(
    challenge: Challenge,
    token: str | list[str] | None = "token",
    on_outage: TurnstileOnOutage = REFUSE,
    *,
    client: str = "192.0.2.1",
    form_id: str = "frm_1",
    secret: str = SECRET,
) -> ChallengeVerdict:
    return await challenge.verify(token, config(on_outage, secret), client, form_id)


async def refusal(challenge: Challenge, *arguments: Any, **named: Any) -> Rejected:
    with pytest.raises(Rejected) as refused:
        await verify(challenge, *arguments, **named)
    return refused.value


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_an_earned_token_passes_once(challenge: Challenge, turnstile: MiniTurnstile) -> None:
    assert await verify(challenge) is PASSED
    refused = await refusal(challenge)
    assert refused.problem is Problem.TURNSTILE_FAILED
    assert refused.members == {"error-codes": ["timeout-or-duplicate"]}
    assert turnstile.tokens == ["token", "token"]


@pytest.mark.parametrize("on_outage", TurnstileOnOutage)
@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, "missing-input-response"),
        ("", "missing-input-response"),
        ([], "missing-input-response"),
        (["token"], "invalid-input-response"),
        (["token", "token"], "invalid-input-response"),
        ("t" * 2_049, "invalid-input-response"),
        ("to ken", "invalid-input-response"),
        ("token\n", "invalid-input-response"),
        ("t\u00f6ken", "invalid-input-response"),
        ("to\x00ken", "invalid-input-response"),
    ],
)
async def test_a_malformed_token_costs_no_call(
    token: str | list[str] | None, code: str, on_outage: TurnstileOnOutage
) -> None:
    calls: list[httpx.Request] = []
    async with answered_by(calls.append) as challenge:
        refused = await refusal(challenge, token, on_outage)
    assert refused.problem is Problem.TURNSTILE_FAILED
    assert refused.members == {"error-codes": [code]}
    assert calls == []


async def test_the_longest_token_is_asked_about() -> None:
    async with answered_by(lambda _: httpx.Response(200, json={"success": True})) as challenge:
        assert await verify(challenge, "t" * 2_048) is PASSED


@pytest.mark.parametrize("on_outage", TurnstileOnOutage)
async def test_a_refused_token_is_refused_whatever_the_outage_policy(
    challenge: Challenge, turnstile: MiniTurnstile, on_outage: TurnstileOnOutage
) -> None:
    turnstile.mode = Mode.REFUSE
    turnstile.error_codes = ["bad-request", "internal-error"]
    refused = await refusal(challenge, "token", on_outage)
    assert refused.members == {"error-codes": ["bad-request", "internal-error"]}


@pytest.mark.parametrize("fault", OUTAGES)
async def test_in_an_outage_the_form_decides(
    challenge: Challenge, turnstile: MiniTurnstile, fault: Mode
) -> None:
    turnstile.mode = fault
    refused = await refusal(challenge, "a")
    assert refused.problem is Problem.TURNSTILE_UNAVAILABLE
    assert int(refused.headers["Retry-After"]) > 0
    assert await verify(challenge, "b", HOLD) is ChallengeVerdict.HELD
    assert await verify(challenge, "c", ACCEPT) is ChallengeVerdict.ACCEPTED_UNVERIFIED
    assert turnstile.tokens == ["a", "a", "b", "b", "c", "c"]
    assert turnstile.redirected == 0


@pytest.mark.parametrize("fault", OUTAGES)
async def test_a_second_try_with_the_same_idempotency_key_mends_one_fault(
    challenge: Challenge, turnstile: MiniTurnstile, fault: Mode
) -> None:
    turnstile.script = [fault]
    assert await verify(challenge) is PASSED
    first, second = turnstile.calls
    assert first == second
    assert UUID(first.idempotency_key).version == 4


async def test_a_hanging_turnstile_costs_no_more_than_the_budget(
    impatient: Challenge, turnstile: MiniTurnstile
) -> None:
    turnstile.mode = Mode.HANG
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(20.0):
        assert await verify(impatient, "token", HOLD) is ChallengeVerdict.HELD
    assert asyncio.get_running_loop().time() - started >= 0.4
    assert turnstile.tokens == ["token", "token"]


async def test_the_second_try_gets_the_rest_of_the_budget(turnstile: MiniTurnstile) -> None:
    turnstile.mode, turnstile.delay_seconds = Mode.SLOW, 0.4
    challenge = Challenge(turnstile.url, budget_seconds=30.0, first_try_seconds=0.2)
    assert await verify(challenge) is PASSED
    assert len(turnstile.calls) == 2
    await challenge.close()


async def test_nobody_listening_is_an_outage() -> None:
    with running_turnstile() as gone:
        url = gone.url
    challenge = Challenge(url)
    assert await verify(challenge, "token", HOLD) is ChallengeVerdict.HELD
    await challenge.close()


@pytest.mark.parametrize(
    ("status", "body", "is_outage"),
    [
        (200, b'{"success":false,"error-codes":["timeout-or-duplicate"]}', False),
        (400, b'{"success":false,"error-codes":["invalid-input-response"]}', False),
        (200, b'{"success":false}', False),
        (200, b'{"success":false,"error-codes":"internal-error"}', False),
        (200, b'{"success":false,"error-codes":["internal-error"]}', True),
        (500, b'{"success":false,"error-codes":["invalid-input-response"]}', True),
        (500, b'{"success":true}', True),
        (403, b'{"success":true}', True),
        (403, b"<h1>Blocked</h1>", True),
        (429, b'{"success":false,"error-codes":["invalid-input-response"]}', True),
        (204, b"", True),
        (200, b"", True),
        (200, b'{"success":tr', True),
        (200, b'{"success":"true"}', True),
        (200, b'{"success":1}', True),
        (200, b"true", True),
        (200, b"[]", True),
        (200, b'{"error-codes":[]}', True),
        (200, b'{"success":true}' + b" " * 65_536, True),
        (200, b"[" * 10_000, True),
        (200, b"\xff\xfe", True),
    ],
)
async def test_only_a_whole_answer_counts(status: int, body: bytes, is_outage: bool) -> None:
    async with answered_by(lambda _: httpx.Response(status, content=body)) as challenge:
        refused = await refusal(challenge)
    expected = Problem.TURNSTILE_UNAVAILABLE if is_outage else Problem.TURNSTILE_FAILED
    assert refused.problem is expected


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b'{"success":true}')
    answer = httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"})
    async with answered_by(lambda _: answer) as challenge:
        assert (await refusal(challenge)).problem is Problem.TURNSTILE_UNAVAILABLE


async def test_a_throttling_turnstile_is_not_asked_again() -> None:
    calls: list[httpx.Request] = []

    def throttle(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(429)

    async with answered_by(throttle) as challenge:
        await refusal(challenge)
    assert len(calls) == 1


async def test_error_codes_are_passed_on_only_if_they_look_like_codes() -> None:
    codes = ["a-1", "UPPER", "", "x" * 65, "<script>", 7, None, ["a"], *map(str, range(20))]
    answer = {"success": False, "error-codes": codes}
    async with answered_by(lambda _: httpx.Response(200, json=answer)) as challenge:
        refused = await refusal(challenge)
    assert refused.members == {"error-codes": ["a-1", *map(str, range(9))]}


@pytest.mark.parametrize("secret", ["", "not-the-secret"])
async def test_a_wrong_secret_is_not_the_visitors_fault(
    challenge: Challenge, turnstile: MiniTurnstile, secret: str
) -> None:
    with capture_logs() as lines:
        refused = await refusal(challenge, secret=secret)
        assert await verify(challenge, "b", HOLD, secret=secret) is ChallengeVerdict.HELD
    assert refused.problem is Problem.TURNSTILE_UNAVAILABLE
    assert "error-codes" not in refused.members
    assert [(line["log_level"], line["form_id"]) for line in lines] == [("error", "frm_1")] * 2


@pytest.mark.parametrize(
    ("number", "code"),
    [(2, "invalid-input-response"), (3, "timeout-or-duplicate")],
)
async def test_dummy_secrets_do_what_cloudflare_says(
    challenge: Challenge, number: int, code: str
) -> None:
    always_passes = f"1x{'0' * 31}AA"
    for _ in range(2):
        assert await verify(challenge, secret=always_passes) is PASSED
    refused = await refusal(challenge, secret=always_passes.replace("1x", f"{number}x"))
    assert refused.members == {"error-codes": [code]}


@pytest.mark.parametrize(
    ("client", "sent"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("", None), ("unknown", None)],
)
async def test_the_visitors_address_is_sent_if_it_is_one(
    challenge: Challenge, turnstile: MiniTurnstile, client: str, sent: str | None
) -> None:
    assert await verify(challenge, client=client) is PASSED
    assert turnstile.calls[0].client == sent


async def test_a_post_refused_in_an_outage_may_come_again_with_its_token_once(
    challenge: Challenge, turnstile: MiniTurnstile
) -> None:
    turnstile.script = [Mode.HALF, Mode.HALF]
    await refusal(challenge)
    assert await verify(challenge) is PASSED
    assert (await refusal(challenge)).problem is Problem.TURNSTILE_FAILED


@pytest.mark.parametrize("on_outage", [HOLD, ACCEPT])
async def test_a_token_of_a_stored_post_may_not_come_again(
    challenge: Challenge, turnstile: MiniTurnstile, on_outage: TurnstileOnOutage
) -> None:
    turnstile.script = [Mode.HALF, Mode.HALF]
    await verify(challenge, "token", on_outage)
    refused = await refusal(challenge, "token", on_outage)
    assert refused.problem is Problem.TURNSTILE_FAILED


async def test_a_second_chance_ends_with_the_life_of_the_token(turnstile: MiniTurnstile) -> None:
    clock = ManualClock()
    challenge = Challenge(turnstile.url, clock=clock)
    turnstile.script = [Mode.HALF, Mode.HALF]
    await refusal(challenge)
    clock.advance(300)
    assert (await refusal(challenge)).problem is Problem.TURNSTILE_FAILED
    await challenge.close()


class Gate:
    """Answers nothing until it is opened; then lets every token pass."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.tokens: list[str] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.tokens.append(dict(parse_qsl(request.content.decode()))["response"])
        await self.opened.wait()
        return httpx.Response(200, json={"success": True})


@pytest.mark.parametrize("on_outage", TurnstileOnOutage)
async def test_a_flood_is_refused_beyond_the_cap_and_other_forms_are_not(
    on_outage: TurnstileOnOutage,
) -> None:
    gate = Gate()
    async with answered_by(gate) as challenge, asyncio.TaskGroup() as tasks:
        flood = [tasks.create_task(verify(challenge, f"t{n}", on_outage)) for n in range(32)]
        await until(lambda: len(gate.tokens) == 32)
        refused = await refusal(challenge, "one-more", on_outage)
        assert refused.problem is Problem.TURNSTILE_UNAVAILABLE
        assert "Retry-After" in refused.headers
        other = tasks.create_task(verify(challenge, "other", on_outage, form_id="frm_2"))
        await until(lambda: gate.tokens[-1] == "other")
        gate.opened.set()
    assert [task.result() for task in (*flood, other)] == [PASSED] * 33


async def test_all_forms_together_are_capped_too() -> None:
    gate = Gate()
    async with answered_by(gate) as challenge, asyncio.TaskGroup() as tasks:
        for number in range(256):
            tasks.create_task(verify(challenge, "token", form_id=f"frm_{number % 16}"))
        await until(lambda: len(gate.tokens) == 256)
        refused = await refusal(challenge, "token", ACCEPT, form_id="frm_16")
        assert refused.problem is Problem.TURNSTILE_UNAVAILABLE
        gate.opened.set()


async def test_a_visitor_who_leaves_gives_the_place_up() -> None:
    gate = Gate()
    async with answered_by(gate) as challenge:
        flood = [asyncio.create_task(verify(challenge, f"t{n}")) for n in range(32)]
        await until(lambda: len(gate.tokens) == 32)
        flood[0].cancel()
        await asyncio.wait([flood[0]])
        gate.opened.set()
        assert await verify(challenge, "next") is PASSED
        assert await asyncio.gather(*flood[1:]) == [PASSED] * 31


class Switch:
    """Refuses connections, or asks the next handler."""

    def __init__(self, then: Handler) -> None:
        self.is_down = True
        self.calls = 0
        self._then = then

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.is_down:
            raise httpx.ConnectError("connection refused")
        answer: httpx.Response = await self._then(request)
        return answer


async def test_after_ten_failures_nobody_waits_and_one_probe_finds_out() -> None:
    gate, clock = Gate(), ManualClock()
    switch = Switch(gate)
    async with answered_by(switch, clock) as challenge:
        for number in range(10):
            assert await verify(challenge, f"t{number}", HOLD) is ChallengeVerdict.HELD
        assert switch.calls == 20
        assert await verify(challenge, "at-once", ACCEPT) is ChallengeVerdict.ACCEPTED_UNVERIFIED
        assert (await refusal(challenge, "at-once")).problem is Problem.TURNSTILE_UNAVAILABLE
        assert switch.calls == 20
        clock.advance(5)
        switch.is_down = False
        probe = asyncio.create_task(verify(challenge, "probe", HOLD))
        await until(lambda: gate.tokens == ["probe"])
        assert await verify(challenge, "beside", HOLD) is ChallengeVerdict.HELD
        gate.opened.set()
        assert await probe is PASSED
        assert await verify(challenge, "after", HOLD) is PASSED


async def test_a_failed_probe_or_one_that_is_given_up_starts_a_new_pause() -> None:
    gate, clock = Gate(), ManualClock()
    switch = Switch(gate)
    async with answered_by(switch, clock) as challenge:
        for number in range(10):
            await verify(challenge, f"t{number}", HOLD)
        clock.advance(5)
        await verify(challenge, "failed", HOLD)
        await verify(challenge, "beside", HOLD)
        assert switch.calls == 22
        switch.is_down = False
        clock.advance(5)
        probe = asyncio.create_task(verify(challenge, "given-up", HOLD))
        await until(lambda: gate.tokens == ["given-up"])
        probe.cancel()
        await asyncio.wait([probe])
        gate.opened.set()
        assert await verify(challenge, "beside", HOLD) is ChallengeVerdict.HELD
        clock.advance(5)
        assert await verify(challenge, "probe", HOLD) is PASSED


@pytest.mark.parametrize(
    "answer",
    [
        {"success": False, "error-codes": ["invalid-input-response"]},
        {"success": False, "error-codes": ["invalid-input-secret"]},
        {"success": False, "error-codes": ["internal-error"]},
        "<h1>Blocked</h1>",
    ],
)
async def test_no_answer_that_one_form_can_bring_about_opens_the_others(answer: Any) -> None:
    passes = False

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"success": True} if passes else answer)

    async with answered_by(handler) as challenge:
        for number in range(20):
            await refusal(challenge, f"t{number}")
        passes = True
        assert await verify(challenge, "honest", HOLD, form_id="frm_2") is PASSED


@pytest.mark.parametrize("fault", [Mode.REFUSE, Mode.HTML, Mode.RESET, Mode.HANG, Mode.JUDGE])
async def test_secret_and_token_appear_nowhere(
    impatient: Challenge, turnstile: MiniTurnstile, fault: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    turnstile.mode = fault
    secret, token = "canary-secret", "canary-token"
    with capture_logs() as lines:
        refused = await refusal(impatient, token, secret=secret)
    seen: list[object] = [refused, refused.__context__, refused.__cause__, lines, caplog.text]
    seen += [problem_document(refused, ""), refused.headers, config(secret=secret)]
    assert "canary" not in repr(seen)
    assert "canary" not in json.dumps(problem_document(refused, ""))


async def test_proxies_of_the_environment_are_not_used(
    turnstile: MiniTurnstile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    challenge = Challenge(turnstile.url)
    assert await verify(challenge) is PASSED
    await challenge.close()
