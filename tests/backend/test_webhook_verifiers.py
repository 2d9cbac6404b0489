"""Receivers' verifiers, off the shelf and out of the documentation, judge what is really sent."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from backend.management import Services
from backend.webhooks.signing import new_secret, signature_headers
from contracts.runtime.clock import SystemClock
from tests.backend.builders import Account, add_form, add_submission
from tests.backend.webhook_builders import create_webhook, delivery_of, sink
from tests.support.clock import ManualClock
from tests.support.webhook_sink import WebhookSink

__all__ = ["sink"]
ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "tests/clients"
PAGE = (ROOT / "docs/webhooks.md").read_text()
DAY = 24 * 3600
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PAYLOADS = (
    {"email": "ada@example.com"},
    {"name": "Zoë 🦊 名前", "note": 'a "quoted" \\ line\nand <b>\u2028\0'},
    {"topic": ["ä", ""], "": "no name"},
)


@dataclass(frozen=True)
class Request:
    """What a receiver has in its hands."""

    headers: dict[str, str]
    body: bytes
    secret: str


Verifier = Callable[[Sequence[Request]], list[bool]]


def with_library(requests: Sequence[Request]) -> list[bool]:
    def is_genuine(request: Request) -> bool:
        try:
            Webhook(request.secret).verify(request.body, request.headers)
        except (WebhookVerificationError, ValueError):
            return False
        return True

    return list(map(is_genuine, requests))


def with_documented_python(requests: Sequence[Request]) -> list[bool]:
    names: dict[str, Any] = {}
    [code] = [block for block in examples("python") if "is_genuine" in block]
    exec(code, names)
    return [
        names["is_genuine"](request.body, request.headers["x-formflow-signature"], request.secret)
        for request in requests
    ]


def with_documented_javascript(requests: Sequence[Request], directory: Path) -> list[bool]:
    [code] = [block for block in examples("javascript") if "isGenuine" in block]
    module = directory / "verifier.mjs"
    module.write_text(code)
    return with_node(str(module), requests)


def with_node(module: str, requests: Sequence[Request]) -> list[bool]:
    if shutil.which("node") is None or not (CLIENTS / "node_modules").exists():
        pytest.skip("no npm on this machine to install the JavaScript verifiers")
    given = [
        {
            "headers": request.headers,
            "body": base64.b64encode(request.body).decode(),
            "secret": request.secret,
        }
        for request in requests
    ]
    done = subprocess.run(
        ["node", CLIENTS / "verify.mjs", module],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    judged: list[bool] = json.loads(done.stdout)
    return judged


def examples(language: str) -> list[str]:
    """The documentation's examples in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(
    params=["library", "javascript library", "documented python", "documented javascript"]
)
def verifier(request: pytest.FixtureRequest, tmp_path: Path) -> Verifier:
    """Each way to verify."""
    verifiers: dict[str, Verifier] = {
        "library": with_library,
        "javascript library": lambda requests: with_node("standardwebhooks", requests),
        "documented python": with_documented_python,
        "documented javascript": lambda requests: with_documented_javascript(requests, tmp_path),
    }
    return verifiers[str(request.param)]


@pytest.fixture
def is_standard(request: pytest.FixtureRequest) -> bool:
    """Whether the verifier is one of Standard Webhooks, which knows of time and of two secrets."""
    return "library" in request.node.callspec.params["verifier"]


@pytest.fixture
def clock() -> ManualClock:
    """One that starts now: libraries refuse what is not of their own time."""
    return ManualClock(SystemClock().now_ms())


@dataclass
class Owner:
    """Somebody with a webhook that leads to the sink."""

    client: httpx.AsyncClient
    services: Services
    account: Account
    sink: WebhookSink
    webhook: dict[str, Any]
    submission: str

    async def deliver(self, at_ms: int | None = None) -> Request:
        """What an attempt sends that begins then, or now."""
        account_id = self.account.principal.account_id
        delivery = delivery_of(self.services, account_id, self.webhook, self.submission)
        at_ms = self.services.clock.now_ms() if at_ms is None else at_ms
        await self.services.webhook_sender.send(delivery, at_ms)
        return self._last()

    async def test(self) -> Request:
        """What a test sends."""
        outcome = await self.client.post(f"/v1/webhooks/{self.webhook['id']}/test")
        assert outcome.json()["delivered"]
        return self._last()

    async def rotate(self) -> str:
        """Rotates the secret; the new one."""
        path = f"/v1/webhooks/{self.webhook['id']}/rotate-secret"
        return str((await self.client.post(path)).json()["secret"])

    def _last(self) -> Request:
        return Request(self.sink.last.headers, self.sink.last.body, self.webhook["secret"])


@pytest_asyncio.fixture(params=PAYLOADS, ids=["ascii", "other", "lists"])
async def owner(
    request: pytest.FixtureRequest,
    client: httpx.AsyncClient,
    services: Services,
    account: Account,
    sink: WebhookSink,
) -> Owner:
    form = await add_form(services, account)
    submission = await add_submission(services, form, payload=request.param)
    webhook = await create_webhook(client, form.id, url=sink.url)
    # The submission was stored a second from now.
    return Owner(client, services, account, sink, webhook, submission)


async def judge(verifier: Verifier, *requests: Request) -> list[bool]:
    return await asyncio.to_thread(verifier, requests)


@ON_SQLITE
@pytest.mark.asyncio
async def test_what_is_sent_is_genuine_and_what_was_tampered_with_is_not(
    owner: Owner, verifier: Verifier, is_standard: bool
) -> None:
    sent = await owner.deliver()
    digest = sent.headers["x-formflow-signature"]
    tampered = {
        "as it is": sent,
        "a test": await owner.test(),
        "another body": replace(sent, body=sent.body.replace(b"sub_", b"sub-")),
        "a byte more": replace(sent, body=sent.body + b" "),
        "made anew": replace(sent, body=json.dumps(json.loads(sent.body)).encode()),
        "another secret": replace(sent, secret=new_secret()),
        "no signature": replace(
            sent, headers=sent.headers | {"x-formflow-signature": "", "webhook-signature": ""}
        ),
        "another signature": replace(
            sent,
            headers=sent.headers
            | {
                "x-formflow-signature": digest[:-1] + ("0" if digest[-1] != "0" else "1"),
                "webhook-signature": f"v1,{base64.b64encode(bytes(32)).decode()}",
            },
        ),
    }
    judged = dict(zip(tampered, await judge(verifier, *tampered.values()), strict=True))
    assert judged == {name: name in ("as it is", "a test") for name in tampered}
    if is_standard:
        others = [
            replace(sent, headers=sent.headers | {"webhook-id": "whd_other"}),
            replace(
                sent,
                headers=sent.headers
                | {"webhook-timestamp": str(int(sent.headers["webhook-timestamp"]) + 1)},
            ),
        ]
        assert await judge(verifier, *others) == [False, False]


@ON_SQLITE
@pytest.mark.asyncio
async def test_libraries_refuse_what_is_stale_or_of_the_future(
    owner: Owner, verifier: Verifier, is_standard: bool
) -> None:
    now_ms = owner.services.clock.now_ms()
    sent = [await owner.deliver(now_ms + seconds * 1000) for seconds in (-200, -400, 200, 400)]
    assert await judge(verifier, *sent) == [True, not is_standard, True, not is_standard]


@ON_SQLITE
@pytest.mark.asyncio
async def test_after_a_rotation_both_secrets_sign_for_a_day(
    owner: Owner, verifier: Verifier, is_standard: bool, clock: ManualClock
) -> None:
    old = owner.webhook["secret"]
    new = await owner.rotate()
    now_ms = clock.now_ms()
    sent = await owner.deliver()
    both = [replace(sent, secret=secret) for secret in (new, old)]
    assert await judge(verifier, *both) == [True, is_standard]
    newest = await owner.rotate()
    sent = await owner.deliver()
    three = [replace(sent, secret=secret) for secret in (newest, new, old)]
    assert await judge(verifier, *three) == [True, is_standard, False]
    # The last moment, and the first one after it: the sender has them from the clock.
    for after_ms, signs in ((DAY * 1000 - 1, True), (DAY * 1000, False)):
        sent = await owner.deliver(now_ms + after_ms)
        signatures = sent.headers["webhook-signature"].split(" ")
        assert len(signatures) == (2 if signs else 1)


@given(st.binary(max_size=200), st.integers(1, 2**33))
def test_the_simple_signature_is_of_the_bytes_and_of_the_current_secret_alone(
    body: bytes, at_s: int
) -> None:
    current, previous = new_secret(), new_secret()
    headers = signature_headers(body, [current, previous], "whd_1", at_s)
    requests = [Request(headers, body, secret) for secret in (current, previous)]
    assert with_documented_python(requests) == [True, False]
    assert headers["webhook-timestamp"] == str(at_s)
    assert len(set(headers["webhook-signature"].split(" "))) == 2
