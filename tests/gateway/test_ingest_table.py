"""Walks every check and every verdict of the ingest endpoint, and writes down what is answered.

``docs/ingest.md`` holds the table; ``UPDATE_DOCS=1 pytest tests/gateway/test_ingest_table.py``
writes it anew.
"""

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from backend.openapi.ingest import ingest_path_item
from contracts.fields import DeclaredField, FieldType
from contracts.forms import FormStatus, KeyRestrictions, TurnstileConfig, TurnstileOnOutage
from contracts.keys import KeyKind, mint_key
from contracts.probes import ProbeTokens
from tests.support.builders import form_config, key_grant
from tests.support.gateways import running_gateway
from tests.support.mini_backend import TOKEN as INTERNAL_TOKEN
from tests.support.mini_backend import MiniBackend
from tests.support.mini_turnstile import SECRET, MiniTurnstile, Mode, running_turnstile

PAGE = Path(__file__).parents[2] / "docs" / "ingest.md"
BEGIN, END = "<!-- table -->", "<!-- end of table -->"
URL = "/v1/f/contact"
FIELDS = {"email": "ada@example.com"}
EMAIL = DeclaredField("email", FieldType.EMAIL, required=True)
KEY = mint_key(KeyKind.SUBMISSION)
FOREIGN = mint_key(KeyKind.SUBMISSION)
LIVE = mint_key(KeyKind.LIVE)
SHOWN = (
    "allow",
    "retry-after",
    "formflow-queued",
    "idempotency-replayed",
    "idempotency-mismatch",
    "vary",
    "location",
)


@dataclass
class World:
    """What a case may arrange."""

    backend: MiniBackend
    turnstile: MiniTurnstile
    gateway: httpx.AsyncClient

    def form(self, **members: Any) -> None:
        self.backend.forms["contact"] = form_config(**members)

    def restrict(self, **restrictions: Any) -> None:
        """Gives the key restrictions."""
        self.backend.keys[KEY.text] = key_grant(
            key_id=KEY.key_id, restrictions=KeyRestrictions(**restrictions)
        )

    def check(self, on_outage: TurnstileOnOutage = TurnstileOnOutage.REFUSE) -> None:
        """Turns Turnstile on."""
        self.form(turnstile=TurnstileConfig(SECRET, on_outage, skip_with_key=True))

    async def post(self, **arguments: Any) -> httpx.Response:
        return await self.gateway.post(URL, **({"data": FIELDS} | arguments))


Arrange = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A check, one of its verdicts, and the post that meets it."""

    check: str
    verdict: str
    status: int
    what: str
    request: dict[str, Any] = field(default_factory=dict)
    arrange: Callable[[World], Any] = lambda world: None
    settings: dict[str, Any] = field(default_factory=dict)
    is_stored: bool | None = None


def bearer(text: str, **headers: str) -> dict[str, Any]:
    return {"headers": {"authorization": f"Bearer {text}"} | headers}


def keyed(key: str, **more: Any) -> dict[str, Any]:
    return {"headers": {"idempotency-key": key}} | more


def posts_before(count: int, **arguments: Any) -> Callable[[World], Awaitable[None]]:
    async def arrange(world: World) -> None:
        for _ in range(count):
            await world.post(**arguments)

    return arrange


async def uses_up_the_quota(world: World) -> None:
    world.backend.quota = 1
    await world.post()
    await world.post()


async def binds_a_key(world: World) -> None:
    await world.post(**keyed("order-1"))


async def binds_a_key_strictly(world: World) -> None:
    world.form(idempotency_strict=True)
    await binds_a_key(world)


async def binds_a_key_and_uses_up_the_quota(world: World) -> None:
    await binds_a_key(world)
    world.backend.quota = 1
    await world.post()


async def loses_the_backend(world: World) -> None:
    await world.post()
    world.backend.is_down = True


def refuses(code: str) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.check()
        world.turnstile.mode = Mode.REFUSE
        world.turnstile.error_codes = [code]

    return arrange


def outage(policy: TurnstileOnOutage) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.check(policy)
        world.turnstile.mode = Mode.STATUS

    return arrange


# Signed for later than any run of this test; a probe is not sent by a page.
PROBE = {"FormFlow-Probe": ProbeTokens(INTERNAL_TOKEN).sign("frm_1", 99_999_999_999)}
TOKEN = {"data": FIELDS | {"cf-turnstile-response": "a-token"}}
JSON = {"content-type": "application/json"}
OFFICIAL = {"origin": "https://shop.example"}
CASES = [
    Case("method", "`OPTIONS`", 204, "preflight", {"method": "OPTIONS"}),
    Case("method", "other than `POST`", 405, "method-not-allowed", {"method": "GET"}),
    Case("form", "live", 200, "stored", is_stored=True),
    Case("form", "unknown or deleted", 404, "form-not-found", {"url": "/v1/f/nobody"}),
    Case(
        "form", "paused", 403, "form-not-live", arrange=lambda w: w.form(status=FormStatus.PAUSED)
    ),
    Case("form", "draft", 403, "form-not-live", arrange=lambda w: w.form(status=FormStatus.DRAFT)),
    Case(
        "form",
        "not known here, backend away",
        503,
        "unavailable",
        arrange=lambda w: setattr(w.backend, "is_down", True),
    ),
    Case("key", "valid", 200, "stored", bearer(KEY.text), is_stored=True),
    Case("key", "malformed or mistyped", 403, "invalid-key", bearer("ff_sub_nonsense")),
    Case("key", "empty", 403, "invalid-key", bearer("")),
    Case(
        "key", "unknown or revoked", 403, "invalid-key", bearer(mint_key(KeyKind.SUBMISSION).text)
    ),
    Case("key", "of another account", 403, "invalid-key", bearer(FOREIGN.text)),
    Case("key", "a management key", 403, "invalid-key", bearer(mint_key(KeyKind.MANAGEMENT).text)),
    Case(
        "key",
        "live, with the scope `submissions:write`",
        200,
        "stored",
        bearer(LIVE.text),
        is_stored=True,
    ),
    Case(
        "key",
        "test, form not in test mode",
        403,
        "invalid-key",
        bearer(KEY.text),
        lambda w: w.restrict(is_test=True),
    ),
    Case(
        "key",
        "form not among `allowed_forms`, or of another environment",
        403,
        "invalid-key",
        bearer(KEY.text),
        lambda w: w.restrict(allowed_forms=("frm_other",)),
    ),
    Case(
        "key",
        "expired",
        403,
        "invalid-key",
        bearer(KEY.text),
        lambda w: w.restrict(expires_at=0),
    ),
    Case(
        "key",
        "address not among `allowed_ips`",
        403,
        "ip-not-allowed",
        bearer(KEY.text),
        lambda w: w.restrict(allowed_ips=("198.51.100.0/24",)),
    ),
    Case(
        "key",
        "not known here, backend away",
        503,
        "unavailable",
        bearer(mint_key(KeyKind.SUBMISSION).text),
        loses_the_backend,
    ),
    Case(
        "key",
        "another scheme (`Basic`)",
        200,
        "stored, as anonymous",
        {"headers": {"authorization": "Basic YTpi"}},
        is_stored=True,
    ),
    Case(
        "rate limit",
        "visitor over the form's limit",
        429,
        "rate-limited",
        arrange=posts_before(10),
        settings={"limit": 10},
    ),
    Case(
        "rate limit",
        "key over its burst",
        429,
        "rate-limited",
        bearer(KEY.text),
        posts_before(50, **bearer(KEY.text)),
    ),
    Case("idempotency key", "malformed", 400, "bad-idempotency-key", keyed("two words")),
    Case("idempotency key", "empty", 200, "stored, as without", keyed(""), is_stored=True),
    Case("body", "multipart", 200, "stored", {"data": None, "files": {"a": (None, "b")}}),
    Case("body", "JSON object", 200, "stored", {"data": None, "json": FIELDS}, is_stored=True),
    Case(
        "body",
        "unreadable or cut off",
        400,
        "bad-body",
        {"data": None, "content": b'{"a":', "headers": JSON},
    ),
    Case("body", "no `Content-Type`", 400, "bad-body", {"data": None, "content": b"a=1"}),
    Case(
        "body",
        "another type",
        415,
        "unsupported-media-type",
        {"data": None, "content": b"a", "headers": {"content-type": "text/plain"}},
    ),
    Case(
        "body",
        "`Content-Encoding`",
        415,
        "unsupported-media-type",
        {"headers": {"content-encoding": "gzip"}},
    ),
    Case("body", "over a limit", 413, "body-too-large", {"data": {"a": "x" * 70_000}}),
    Case(
        "origin",
        "listed",
        200,
        "stored",
        {"headers": OFFICIAL},
        lambda w: w.form(allowed_origins=("https://shop.example",)),
        is_stored=True,
    ),
    Case(
        "origin",
        "not listed, or not sent",
        403,
        "origin-not-allowed",
        {"headers": {"origin": "https://evil.example"}},
        lambda w: w.form(allowed_origins=("https://shop.example",)),
    ),
    Case("idempotency", "first", 200, "stored", keyed("order-1"), is_stored=True),
    Case("idempotency", "known, same body", 200, "replayed", keyed("order-1"), binds_a_key),
    Case(
        "idempotency",
        "known, other body",
        200,
        "replayed",
        keyed("order-1", data={"a": "other"}),
        binds_a_key,
    ),
    Case(
        "idempotency",
        "known, other body, strict form",
        422,
        "idempotency-mismatch",
        keyed("order-1", data={"a": "other"}),
        binds_a_key_strictly,
    ),
    Case(
        "idempotency",
        "known, quota used up meanwhile",
        200,
        "replayed",
        keyed("order-1"),
        binds_a_key_and_uses_up_the_quota,
    ),
    Case("honeypot", "filled in", 200, "spam", {"data": FIELDS | {"_gotcha": "x"}}, is_stored=True),
    Case("uploads", "within the limit", 200, "stored", {"files": {"cv": ("cv.pdf", b"%PDF")}}),
    Case(
        "uploads",
        "plan without uploads",
        413,
        "uploads-not-allowed",
        {"files": {"cv": ("cv.pdf", b"%PDF")}},
        lambda w: w.form(file_bytes=0),
    ),
    Case(
        "uploads",
        "a file over the limit",
        413,
        "file-too-large",
        {"files": {"cv": ("cv.pdf", b"x" * 101)}},
        lambda w: w.form(file_bytes=100),
    ),
    Case(
        "declared fields",
        "the post fits",
        200,
        "stored",
        {},
        lambda w: w.form(fields=(EMAIL,)),
        is_stored=True,
    ),
    Case(
        "declared fields",
        "it does not fit",
        422,
        "validation-error",
        {"data": {"email": "ada"}},
        lambda w: w.form(fields=(EMAIL,)),
    ),
    Case("quota", "used up", 402, "quota-exceeded", {}, uses_up_the_quota),
    Case("Turnstile", "passed", 200, "stored", TOKEN, lambda w: w.check(), is_stored=True),
    Case("Turnstile", "no token", 403, "turnstile-failed", {}, lambda w: w.check()),
    Case(
        "Turnstile",
        "token refused",
        403,
        "turnstile-failed",
        TOKEN,
        refuses("timeout-or-duplicate"),
    ),
    Case(
        "Turnstile",
        "away, form refuses",
        503,
        "turnstile-unavailable",
        TOKEN,
        outage(TurnstileOnOutage.REFUSE),
    ),
    Case(
        "Turnstile",
        "away, form holds",
        200,
        "held",
        TOKEN,
        outage(TurnstileOnOutage.HOLD),
        is_stored=True,
    ),
    Case(
        "Turnstile",
        "away, form accepts",
        200,
        "stored",
        TOKEN,
        outage(TurnstileOnOutage.ACCEPT),
        is_stored=True,
    ),
    Case(
        "Turnstile",
        "skipped: posted with a key",
        200,
        "stored",
        bearer(KEY.text),
        lambda w: w.check(),
        is_stored=True,
    ),
    Case(
        "Turnstile",
        "skipped: a probe, with a token for this form",
        200,
        "stored",
        {"headers": PROBE},
        lambda w: w.check(),
        is_stored=True,
    ),
    Case(
        "commit",
        "form paused at this moment",
        403,
        "form-not-live",
        {},
        lambda w: setattr(w.backend, "refuse_with", "form-not-live"),
    ),
    Case(
        "commit",
        "key revoked at this moment",
        403,
        "invalid-key",
        bearer(KEY.text),
        lambda w: setattr(w.backend, "refuse_with", "invalid-key"),
    ),
    Case("commit", "backend away", 202, "queued", {}, loses_the_backend, {"spool": "on"}),
    Case("commit", "backend away, no spool", 503, "unavailable", {}, loses_the_backend),
]


@asynccontextmanager
async def world_of(case: Case) -> AsyncIterator[World]:
    limit = case.settings.get("limit", 1_000)
    backend = MiniBackend(
        forms={"contact": form_config(rate_limit_per_minute=limit, has_quota=False)},
        keys={
            KEY.text: key_grant(key_id=KEY.key_id),
            LIVE.text: key_grant(key_id=LIVE.key_id),
            FOREIGN.text: key_grant(key_id=FOREIGN.key_id, account_id="acc_other"),
        },
    )
    with running_turnstile() as turnstile:
        spool = case.settings.get("spool", "off")
        async with running_gateway(
            backend, turnstile_verify_url=turnstile.url, spool=spool
        ) as gateway:
            yield World(backend, turnstile, gateway)


async def walk(case: Case) -> tuple[httpx.Response, World]:
    async with world_of(case) as world:
        arranged = case.arrange(world)
        if arranged is not None:
            await arranged
        before = len(world.backend.submissions)
        request = {"method": "POST", "url": URL, "data": FIELDS} | case.request
        if request["method"] != "POST":
            del request["data"]
        answer = await world.gateway.request(**request)
        if case.is_stored is not None:
            assert len(world.backend.submissions) - before == int(case.is_stored)
        return answer, world


def row(case: Case, answer: httpx.Response) -> str:
    headers = [f"`{name}: {answer.headers[name]}`" for name in SHOWN if name in answer.headers]
    headers = [re.sub(r"retry-after: [3-8]`", "retry-after: 3–8`", text) for text in headers]
    if answer.headers["access-control-allow-origin"] != "*":
        headers.append("`access-control-allow-origin: <the origin>`")
    has_rate = "yes" if "x-ratelimit-limit" in answer.headers else "–"
    what = f"`{case.what}`" if case.status >= 400 else case.what
    return (
        f"| {case.check} | {case.verdict} | {answer.status_code} | {what} | {has_rate} "
        f"| {', '.join(headers)} |"
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}: {case.verdict}")
async def test_every_check_and_verdict_is_answered_as_documented(case: Case) -> None:
    answer, _ = await walk(case)
    assert answer.status_code == case.status, answer.text
    if case.status >= 400:
        assert answer.json()["type"].rpartition("/")[2] == case.what
    documented = row(case, answer)
    if os.environ.get("UPDATE_DOCS"):
        _write(documented)
    assert documented in PAGE.read_text(encoding="utf-8")


def test_openapi_names_every_problem_of_the_table() -> None:
    text = orjson.dumps(ingest_path_item(())).decode()
    assert [
        case.what for case in CASES if case.status >= 400 and f"`{case.what}`" not in text
    ] == []


def _write(line: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    table, _, tail = rest.partition(END)
    start = "|".join(line.split("|")[:3]) + "|"
    rows = [known for known in table.strip().splitlines() if not known.startswith(start)]
    PAGE.write_text(f"{head}{BEGIN}\n" + "\n".join([*rows, line]) + f"\n{END}{tail}", "utf-8")
