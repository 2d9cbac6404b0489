"""Probes at the gateway: what a token lets by, what it does not, and how the post is marked."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio

from contracts.fields import DeclaredField, FieldType
from contracts.forms import FormStatus, TurnstileConfig, TurnstileOnOutage
from contracts.probes import PROBE_SECONDS, ProbeTokens
from tests.support.builders import form_config
from tests.support.clock import ManualClock
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN, MiniBackend

URL = "/v1/f/contact"
CANARY = {"email": "owner@example.com", "formflow_probe": "0123"}
EMAIL = DeclaredField("email", FieldType.EMAIL, required=True)
STRICT: dict[str, Any] = {
    "turnstile": TurnstileConfig("a secret", TurnstileOnOutage.REFUSE, skip_with_key=False),
    "allowed_origins": ("https://shop.example",),
    "rate_limit_per_minute": 1,
    "fields": (EMAIL,),
}

pytestmark = pytest.mark.asyncio


@pytest.fixture
def backend() -> MiniBackend:
    return MiniBackend(forms={"contact": form_config(**STRICT)})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def gateway(backend: MiniBackend, clock: ManualClock) -> AsyncIterator[httpx.AsyncClient]:
    async with running_gateway(backend, clock) as client:
        yield client


def probe(clock: ManualClock, form_id: str = "frm_1", token: str = TOKEN) -> dict[str, str]:
    """The header of a probe that is signed at this moment."""
    expires_at = clock.now_ms() // 1000 + PROBE_SECONDS
    return {"FormFlow-Probe": ProbeTokens(token).sign(form_id, expires_at)}


async def test_a_probe_needs_no_page_and_no_visitors_rate_and_is_marked(
    gateway: httpx.AsyncClient, backend: MiniBackend, clock: ManualClock
) -> None:
    for _ in range(3):
        answer = await gateway.post(URL, json=CANARY, headers=probe(clock))
        assert answer.status_code == 200, answer.text
    stored = backend.submissions[-1]
    assert stored.status == "received"
    assert orjson.loads(stored.payload) == CANARY
    assert orjson.loads(stored.meta)["probe"] is True
    checks = [(check, verdict) for check, verdict, _ in orjson.loads(stored.trace)]
    assert ("probe", "valid") in checks
    assert ("turnstile", "skipped") in checks


async def test_an_invalid_token_makes_an_ordinary_post(
    gateway: httpx.AsyncClient, backend: MiniBackend, clock: ManualClock
) -> None:
    backend.forms["contact"] = form_config()
    old = probe(clock)
    clock.advance(PROBE_SECONDS)
    wrong = (
        old,
        probe(clock, "frm_2"),
        probe(clock, token="another token"),
        {"FormFlow-Probe": ""},
    )
    for headers in wrong:
        assert (await gateway.post(URL, json=CANARY, headers=headers)).status_code == 200
    assert len(backend.submissions) == len(wrong)
    assert not any("probe" in orjson.loads(item.meta) for item in backend.submissions)


@pytest.mark.parametrize(
    ("changes", "fields", "slug"),
    [
        ({"status": FormStatus.PAUSED}, CANARY, "form-not-live"),
        ({}, CANARY | {"email": "nonsense"}, "validation-error"),
    ],
)
async def test_everything_else_is_checked(
    gateway: httpx.AsyncClient,
    backend: MiniBackend,
    clock: ManualClock,
    changes: dict[str, Any],
    fields: dict[str, str],
    slug: str,
) -> None:
    backend.forms["contact"] = form_config(**(STRICT | changes))
    answer = await gateway.post(URL, json=fields, headers=probe(clock))
    assert answer.json()["type"].endswith(f"/{slug}")
    assert backend.submissions == []


async def test_a_page_elsewhere_cannot_send_the_header(gateway: httpx.AsyncClient) -> None:
    preflight = await gateway.options(URL, headers={"origin": "https://evil.example"})
    assert "probe" not in preflight.headers["access-control-allow-headers"].lower()
