"""The internal surface: the batch commit, look-ups, key verification and the feed."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from backend.api import finish_app
from backend.internal import store
from backend.internal.batches import BatchEndpoint
from backend.internal.routes import internal_routes
from backend.keys.terms import POSTING
from backend.management import Services
from contracts import internal
from contracts.forms import KeyRestrictions
from contracts.ids import new_id
from contracts.keys import KeyKind, mint_key
from contracts.leases import LeaseAsker, LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Submission
from tests.backend.builders import Account, add_account, add_form
from tests.support.builders import NOW_MS, submission
from tests.support.clock import ManualClock

TOKEN = "an-internal-token-for-tests"
STORED, REPLAYED, REJECTED = ItemStatus.STORED, ItemStatus.REPLAYED, ItemStatus.REJECTED

pytestmark = pytest.mark.asyncio


class Peer:
    """A gateway, as the backend sees one."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def commit(self, *batch: Submission) -> Sequence[ItemResult]:
        answer = await self.http.post(internal.SUBMISSIONS, content=internal.encode_batch(batch))
        return internal.decode_batch_answer(answer.content).results

    async def ask(self, asker: LeaseAsker, *batch: Submission) -> internal.BatchAnswer:
        body = internal.encode_batch(batch, asker)
        answer = await self.http.post(internal.SUBMISSIONS, content=body)
        return internal.decode_batch_answer(answer.content)

    async def state(self, statement: LeaseStatement) -> str:
        body = internal.encode_statement(statement)
        return internal.decode_session(
            (await self.http.post(internal.LEASES, content=body)).content
        )

    async def look_up(self, *slugs: str) -> internal.LookupAnswer:
        answer = await self.http.post(internal.LOOKUP, content=internal.encode_slugs(slugs))
        return internal.decode_lookup(answer.content)

    async def verify(self, text: str) -> internal.VerifyAnswer:
        return await self.ask_about(internal.KeyQuestion(text))

    async def ask_about(self, question: internal.KeyQuestion) -> internal.VerifyAnswer:
        answer = await self.http.post(internal.VERIFY_KEY, content=internal.encode_key(question))
        return internal.decode_verify(answer.content)

    async def changes(
        self, epoch: str = "", since: int = 0, wait: int = 0
    ) -> internal.ChangesAnswer:
        query = {"epoch": epoch, "since": str(since), "wait": str(wait)}
        answer = await self.http.get(internal.CHANGES, params=query)
        return internal.decode_changes(answer.content)


@pytest_asyncio.fixture
async def peer(services: Services) -> AsyncIterator[Peer]:
    base = services.settings.problem_base
    rest = finish_app(Starlette(routes=internal_routes(services, TOKEN)), base, services.clock)
    app = BatchEndpoint(rest, services.intake, TOKEN, base)
    headers = {"authorization": f"Bearer {TOKEN}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://backend", headers=headers
    ) as http:
        yield Peer(http)


async def payloads(client: httpx.AsyncClient, form_id: str) -> list[object]:
    answer = await client.get(f"/v1/forms/{form_id}/submissions")
    return [item["payload"] for item in answer.json()["data"]]


async def test_a_batch_is_stored_with_a_result_for_each(
    peer: Peer, services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    form = await add_form(services, account)
    batch = [
        submission(id=new_id("sub", NOW_MS + n), form_id=form.id, payload=f'{{"n":"{n}\\u0000"}}')
        for n in range(50)
    ]
    results = await peer.commit(*batch)
    assert list(results) == [ItemResult(STORED, item.id, NOW_MS) for item in batch]
    assert await payloads(client, form.id) == [{"n": f"{n}\0"} for n in reversed(range(50))]


async def test_a_batch_that_is_sent_again_is_replayed(
    peer: Peer, services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    form = await add_form(services, account)
    item = submission(form_id=form.id)
    await peer.commit(item)
    [again] = await peer.commit(item)
    assert again == ItemResult(REPLAYED, item.id, NOW_MS)
    assert len(await payloads(client, form.id)) == 1


async def test_an_id_twice_in_one_batch_is_stored_once(
    peer: Peer, services: Services, account: Account
) -> None:
    item = submission(form_id=(await add_form(services, account)).id)
    assert [result.status for result in await peer.commit(item, item)] == [STORED, REPLAYED]


async def test_the_same_batch_at_once_is_stored_once(
    peer: Peer, services: Services, account: Account, client: httpx.AsyncClient
) -> None:
    form = await add_form(services, account)
    item = submission(form_id=form.id)
    results = await asyncio.gather(*(peer.commit(item) for _ in range(6)))
    assert sorted(result.status.value for [result] in results) == ["replayed"] * 5 + ["stored"]
    assert len(await payloads(client, form.id)) == 1


async def test_what_may_not_be_stored_is_rejected_and_spoils_nothing(
    peer: Peer, services: Services, account: Account
) -> None:
    live = await add_form(services, account)
    paused = await add_form(services, account, status="paused")
    deleted = await add_form(services, account)
    await services.forms.delete(account.principal, deleted.id)
    results = await peer.commit(
        submission(form_id=live.id),
        submission(form_id=paused.id),
        submission(form_id=deleted.id),
        submission(form_id="frm_unknown"),
        submission(form_id=live.id, key_id="0" * 12),
    )
    assert [result.problem for result in results] == [
        None,
        "form-not-live",
        "form-not-found",
        "form-not-found",
        "invalid-key",
    ]


async def test_nothing_is_stored_with_a_key_once_it_is_revoked(
    peer: Peer, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    key, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    grant = (await peer.verify(text)).grant
    assert grant is not None
    [before] = await peer.commit(submission(form_id=form.id, key_id=grant.key_id))
    await services.keys.revoke(account.principal, key.id)
    [after] = await peer.commit(submission(form_id=form.id, key_id=grant.key_id))
    assert (before.status, after.problem) == (STORED, "invalid-key")
    assert (await peer.verify(text)).grant is None


async def test_a_key_stores_to_no_other_account(
    peer: Peer, services: Services, account: Account
) -> None:
    form = await add_form(services, await add_account(services))
    _, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    grant = (await peer.verify(text)).grant
    assert grant is not None
    [result] = await peer.commit(submission(form_id=form.id, key_id=grant.key_id))
    assert result.problem == "invalid-key"


async def test_only_submission_keys_are_granted_to_gateways(peer: Peer, account: Account) -> None:
    assert (await peer.verify(account.key)).grant is None
    assert (await peer.verify(mint_key(KeyKind.SUBMISSION).text)).grant is None
    assert (await peer.verify("nonsense")).grant is None


async def test_a_look_up_tells_what_is_and_what_is_not(
    peer: Peer, services: Services, account: Account
) -> None:
    form = await add_form(services, account, honeypot_enabled=False, redirect_hosts=["a.example"])
    answer = await peer.look_up(form.slug, "nobody")
    config = answer.forms[form.slug]
    assert answer.forms["nobody"] is None
    assert config is not None
    assert (config.id, config.account_id) == (form.id, account.principal.account_id)
    assert (config.honeypot_field, config.redirect_hosts) == (None, ("a.example",))


async def test_the_feed_tells_every_change_since(
    peer: Peer, services: Services, account: Account
) -> None:
    start = await peer.changes()
    assert start.is_reset
    form = await services.forms.create(account.principal, {"name": "News"})
    gone = await services.forms.create(account.principal, {"name": "Gone"})
    await services.forms.delete(account.principal, gone.id)
    key, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    await services.keys.revoke(account.principal, key.id)
    changes = await peer.changes(start.epoch, start.revision)
    assert not changes.is_reset
    assert {slug: found is not None for slug, found in changes.forms.items()} == {
        form.slug: True,
        gone.slug: False,
    }
    assert changes.keys == (text.removeprefix("ff_sub_")[:12],)
    assert (await peer.changes(start.epoch, changes.revision)).forms == {}


async def test_the_feed_answers_as_soon_as_something_changes(
    peer: Peer, services: Services, account: Account
) -> None:
    start = await peer.changes()
    waiting = asyncio.create_task(peer.changes(start.epoch, start.revision, wait=5))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await services.forms.create(account.principal, {"name": "News"})
    async with asyncio.timeout(4):
        assert "news" in (await waiting).forms


async def test_another_epoch_or_a_revision_from_the_future_is_a_reset(peer: Peer) -> None:
    start = await peer.changes()
    assert (await peer.changes("another", start.revision)).is_reset
    assert (await peer.changes(start.epoch, start.revision + 1)).is_reset


@pytest.mark.parametrize("bound", [3, 5])
async def test_a_gateway_that_is_too_far_behind_looks_up_again_and_misses_nothing(
    peer: Peer,
    services: Services,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    bound: int,
) -> None:
    monkeypatch.setattr(store, "CHANGES_MAX", bound)
    start = await peer.changes()
    kept = [await add_form(services, account) for _ in range(bound)]
    in_time = await peer.changes(start.epoch, start.revision)
    assert (in_time.is_reset, len(in_time.forms)) == (False, bound)
    gone = await add_form(services, account)
    await services.forms.delete(account.principal, gone.id)
    key, _ = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    late = await peer.changes(start.epoch, start.revision)
    assert (late.is_reset, late.forms, late.epoch) == (True, {}, start.epoch)
    assert late.keys == (key.key_id,)
    looked_up = await peer.look_up(*(form.slug for form in [*kept, gone]))
    assert {slug: form is not None for slug, form in looked_up.forms.items()} == {
        form.slug: form is not gone for form in [*kept, gone]
    }
    await services.forms.change(account.principal, kept[0].id, {"status": "paused"})
    after = await peer.changes(late.epoch, late.revision)
    assert (after.is_reset, list(after.forms)) == (False, [kept[0].slug])


async def test_a_feed_that_closes_lets_its_waiters_go(peer: Peer, services: Services) -> None:
    start = await peer.changes()
    waiting = asyncio.create_task(peer.changes(start.epoch, start.revision, wait=5))
    await asyncio.sleep(0.05)
    services.feed.close()
    async with asyncio.timeout(4):
        assert (await waiting).revision == start.revision


async def test_a_lease_is_granted_recalled_through_the_feed_and_given_back(
    peer: Peer, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.internal.leases._RECALL_WAIT_MS", 20_000)
    form = await add_form(services, await add_account(services, plan="free"))
    asker = LeaseAsker("gateway-1", "s1")
    await peer.state(LeaseStatement("gateway-1", "s1", None, {}))
    [lease] = (await peer.ask(asker, submission(form_id=form.id))).leases
    start = await peer.changes()
    feed = asyncio.create_task(peer.changes(start.epoch, start.revision, wait=5))
    batch = [submission(id=new_id("sub", NOW_MS), form_id=form.id) for _ in range(60)]
    commit = asyncio.create_task(peer.commit(*batch))
    async with asyncio.timeout(15):
        assert (await feed).recalls == {lease.id: "gateway-1"}
        await peer.state(LeaseStatement("gateway-1", "s1", None, {lease.id: 0}))
        assert {result.status for result in await commit} == {STORED}


async def test_a_feed_that_is_reset_tells_of_open_recalls(peer: Peer, services: Services) -> None:
    form = await add_form(services, await add_account(services, plan="free"))
    await peer.state(LeaseStatement("gateway-1", "s1", None, {}))
    [lease] = (await peer.ask(LeaseAsker("gateway-1", "s1"), submission(form_id=form.id))).leases
    await peer.commit(*(submission(id=new_id("sub", NOW_MS), form_id=form.id) for _ in range(99)))
    assert (await peer.changes("another epoch")).recalls == {lease.id: "gateway-1"}
    written_off = await peer.http.delete(f"{internal.LEASES}/gateway-1")
    assert written_off.json() == {"freed": lease.granted}
    assert (await peer.changes("another epoch")).recalls == {}


@pytest.mark.parametrize("token", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}"])
async def test_without_the_token_there_is_nothing(peer: Peer, token: str) -> None:
    peer.http.headers["authorization"] = token
    for path in (internal.SUBMISSIONS, internal.LOOKUP, internal.VERIFY_KEY, internal.BOOTSTRAP):
        assert (await peer.http.post(path)).status_code == 404
    assert (await peer.http.post(internal.LEASES)).status_code == 404
    assert (await peer.http.delete(f"{internal.LEASES}/gateway-1")).status_code == 404
    assert (await peer.http.get(internal.CHANGES)).status_code == 404


@pytest.mark.parametrize(
    "path", [internal.SUBMISSIONS, internal.LOOKUP, internal.VERIFY_KEY, internal.LEASES]
)
async def test_an_undecodable_message_is_a_bad_body(peer: Peer, path: str) -> None:
    assert (await peer.http.post(path, content=b"{}")).status_code == 400


async def test_a_first_start_makes_an_owner_a_form_and_a_key_once(
    peer: Peer, services: Services
) -> None:
    first = (await peer.http.post(internal.BOOTSTRAP)).json()
    second = (await peer.http.post(internal.BOOTSTRAP)).json()
    assert first["management_key"].startswith("ff_mgmt_")
    assert second == first | {"management_key": None, "sign_in_url": None}
    assert (await peer.look_up("demo")).forms["demo"] is not None


async def test_a_gateway_is_told_what_a_key_is_restricted_to(
    peer: Peer, services: Services, account: Account
) -> None:
    form = await add_form(services, account)
    terms = {
        "scopes": (POSTING, "forms:read"),
        "allowed_ips": ("192.0.2.0/24",),
        "allowed_forms": (form.id,),
        "rate_limit_per_minute": 60,
        "burst": 5,
        "expires_at": services.clock.now_ms() + 60_000,
    }
    _, text = await services.keys.create(account.principal, "k", KeyKind.LIVE, terms)
    grant = (await peer.verify(text)).grant
    assert grant is not None
    assert (grant.rate_limit_per_minute, grant.burst) == (60, 5)
    assert grant.restrictions == KeyRestrictions(
        ("192.0.2.0/24",), (form.id,), "production", False, services.clock.now_ms() + 60_000
    )
    older = internal.KeyQuestion(text, heeds_restrictions=False)
    assert (await peer.ask_about(older)).grant is None


async def test_a_key_without_restrictions_is_granted_to_any_gateway(
    peer: Peer, services: Services, account: Account
) -> None:
    _, text = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    grant = (await peer.ask_about(internal.KeyQuestion(text, heeds_restrictions=False))).grant
    assert grant is not None
    assert grant.restrictions is None


async def test_keys_that_may_not_post_are_not_granted(
    peer: Peer, services: Services, account: Account
) -> None:
    reads = {"scopes": ("submissions:read",)}
    for kind in (KeyKind.LIVE, KeyKind.TEST):
        _, text = await services.keys.create(account.principal, "k", kind, reads)
        assert (await peer.verify(text)).grant is None


async def test_the_feed_tells_of_a_key_that_was_changed_or_replaced(
    peer: Peer, services: Services, account: Account
) -> None:
    keys = [
        await services.keys.create(account.principal, "k", KeyKind.SUBMISSION) for _ in range(2)
    ]
    start = await peer.changes()
    await services.keys.change(account.principal, keys[0][0].id, {"burst": 1})
    await services.keys.rotate(account.principal, keys[1][0].id, 0)
    told = (await peer.changes(start.epoch, start.revision)).keys
    assert {row.key_id for row, _ in keys} <= set(told)
    grant = (await peer.verify(keys[0][1])).grant
    assert grant is not None
    assert grant.burst == 1
    assert (await peer.verify(keys[1][1])).grant is None


async def test_the_commit_judges_a_key_by_what_it_may_now(
    peer: Peer, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    test_form = await add_form(services, account, mode="test")
    staged = await add_form(services, account, environment="staging")
    scopes, now_ms = (POSTING,), clock.now_ms()
    keys = {
        kind: await services.keys.create(account.principal, "k", kind, terms)
        for kind, terms in (
            (KeyKind.LIVE, {"scopes": scopes}),
            (KeyKind.TEST, {"scopes": scopes}),
            (KeyKind.SUBMISSION, {"allowed_forms": (form.id,)}),
            (KeyKind.MANAGEMENT, {"expires_at": now_ms + 60_000}),
        )
    }
    forms = (form, test_form, staged)
    expected = {
        KeyKind.LIVE: [None, None, "invalid-key"],
        KeyKind.TEST: ["invalid-key", None, "invalid-key"],
        KeyKind.SUBMISSION: [None, "invalid-key", "invalid-key"],
        KeyKind.MANAGEMENT: ["invalid-key"] * 3,
    }
    for kind, (row, _) in keys.items():
        items = [submission(form_id=each.id, key_id=row.key_id) for each in forms]
        assert [result.problem for result in await peer.commit(*items)] == expected[kind]


async def test_nothing_is_stored_with_a_key_that_has_expired_unless_it_was_promised(
    peer: Peer, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    row, _ = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    await services.keys.rotate(account.principal, row.id, 1)
    last_ms = clock.now_ms() + 3600_000 - 1

    async def problems() -> list[str | None]:
        late = submission(form_id=form.id, key_id=row.key_id, received_at=clock.now_ms())
        spooled = [
            submission(form_id=form.id, key_id=row.key_id, received_at=at, is_promised=True)
            for at in (last_ms, last_ms + 1)
        ]
        return [result.problem for result in await peer.commit(late, *spooled)]

    clock.advance(3599)
    assert (await problems())[:2] == [None, None]
    clock.advance(1)
    assert await problems() == ["invalid-key", None, "invalid-key"]


async def test_a_post_with_a_key_is_a_use_of_it(
    peer: Peer, services: Services, account: Account, clock: ManualClock
) -> None:
    form = await add_form(services, account)
    used, _ = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    refused, _ = await services.keys.create(account.principal, "k", KeyKind.SUBMISSION)
    await services.keys.revoke(account.principal, refused.id)
    clock.advance(5)
    items = [submission(form_id=form.id, key_id=row.key_id) for row in (used, used, refused)]
    await peer.commit(*items)
    await services.key_use.flush()
    assert (await services.keys.get(account.principal, used.id)).last_used_at == clock.now_ms()
    assert (await services.keys.get(account.principal, refused.id)).last_used_at is None
