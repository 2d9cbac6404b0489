"""Members: roles, invitations, and the owner who stays."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.access import RIGHTS, Principal, Reach
from backend.accounts.roles import CUSTOM, ROLES, Grant
from backend.management import Services
from backend.members.store import MemberRow
from backend.plans.catalogue import Plan, Plans
from backend.tables import users
from contracts.ids import new_id
from contracts.problems import Problem, Rejected
from tests.backend.builders import Account, add_account
from tests.support.clock import ManualClock

TWO_DAYS = 48 * 3600

pytestmark = pytest.mark.asyncio


async def invite(
    client: httpx.AsyncClient, email: str = "ada@example.com", **members: Any
) -> dict[str, Any]:
    body = {"email": email} | (members or {"role": "editor"})
    answer = await client.post("/v1/members", json=body)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def accept(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/v1/invitations/accept", json={"token": token})


async def join(client: httpx.AsyncClient, email: str, **members: Any) -> str:
    """Invites somebody, who accepts; returns the member's id."""
    invited = await invite(client, email, **members)
    assert (await accept(client, invited["invitation"])).status_code == 200
    return str(invited["id"])


async def test_somebody_invited_joins_with_the_token_once(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    invited = await invite(client, "Ada@Example.com")
    assert (invited["email"], invited["status"]) == ("ada@example.com", "invited")
    assert invited["invitation_expires_at"] == "2026-05-30T20:26:40.000Z"
    member = (await client.get(f"/v1/members/{invited['id']}")).json()
    assert "invitation" not in member
    assert member["permissions"] == sorted(ROLES["editor"])
    clock.advance(TWO_DAYS - 1)
    joined = await accept(client, invited["invitation"])
    assert (joined.status_code, joined.json()["status"]) == (200, "active")
    assert (await accept(client, invited["invitation"])).status_code == 404


async def test_an_invitation_ends_after_two_days_and_can_be_renewed(
    client: httpx.AsyncClient, clock: ManualClock
) -> None:
    invited = await invite(client)
    clock.advance(TWO_DAYS)
    late = await accept(client, invited["invitation"])
    never = await accept(client, "ff_inv_nobody-was-ever-sent-this")
    assert (late.status_code, late.json()) == (404, never.json())
    renewed = await client.post(f"/v1/members/{invited['id']}/invite")
    assert renewed.status_code == 200
    assert (await accept(client, invited["invitation"])).status_code == 404
    assert (await accept(client, renewed.json()["invitation"])).status_code == 200
    assert (await client.post(f"/v1/members/{invited['id']}/invite")).status_code == 409


async def test_of_acceptances_at_once_one_joins(client: httpx.AsyncClient) -> None:
    token = (await invite(client))["invitation"]
    answers = await asyncio.gather(*(accept(client, token) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]


async def test_a_token_is_not_stored(client: httpx.AsyncClient, services: Services) -> None:
    token = (await invite(client))["invitation"]
    async with services.database.read() as connection:
        [row] = (await connection.execute(select(users))).all()
    assert token not in str(row)


async def test_members_are_listed_changed_and_removed(client: httpx.AsyncClient) -> None:
    id = await join(client, "ada@example.com", role="viewer")
    changed = await client.patch(f"/v1/members/{id}", json={"permissions": ["forms:read"]})
    assert (changed.json()["role"], changed.json()["permissions"]) == ("custom", ["forms:read"])
    again = await client.patch(f"/v1/members/{id}", json={"role": "admin"})
    assert again.json()["permissions"] == sorted(ROLES["admin"])
    [listed] = (await client.get("/v1/members")).json()["data"]
    assert listed == again.json()
    assert (await client.delete(f"/v1/members/{id}")).status_code == 204
    assert (await client.get(f"/v1/members/{id}")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"role": "editor", "permissions": ["forms:read"]},
        {"role": None},
        {"role": None, "permissions": None},
        {"role": "custom"},
        {"permissions": ["everything"]},
    ],
)
async def test_a_change_names_a_role_or_permissions(
    client: httpx.AsyncClient, body: dict[str, object]
) -> None:
    path = f"/v1/members/{(await invite(client))['id']}"
    assert (await client.patch(path, json=body)).status_code == 422
    email = {"email": "b@example.com"}
    assert (await client.patch(path, json={"role": "editor"} | email)).status_code == 422
    assert (await client.patch(path, json={})).json() == (await client.get(path)).json()
    new = {"email": "new@example.com"}
    assert (await client.post("/v1/members", json=new | body)).status_code == 422
    assert (await client.post("/v1/members", json=new)).status_code == 422


@pytest.mark.parametrize("email", ["", "ada", "a b@example.com", "a@b@c", "a@\n", "@", "x" * 260])
async def test_an_address_has_a_shape(client: httpx.AsyncClient, email: str) -> None:
    body = {"email": email, "role": "viewer"}
    assert (await client.post("/v1/members", json=body)).status_code == 422


async def test_an_address_belongs_to_one_account(
    client: httpx.AsyncClient, services: Services, clock: ManualClock
) -> None:
    other = await add_account(services)
    await services.members.invite(other.principal, "theirs@example.com", Grant("viewer"))
    body = {"email": "Theirs@example.com", "role": "viewer"}
    refused = await client.post("/v1/members", json=body)
    assert (refused.status_code, other.principal.account_id in refused.text) == (409, False)
    mine = await invite(client)
    assert (await client.post("/v1/members", json=body | {"email": mine["email"]})).is_error
    clock.advance(TWO_DAYS)
    assert (await client.post("/v1/members", json=body)).status_code == 201


async def test_invitations_of_one_address_at_once_are_one(services: Services) -> None:
    accounts = [await add_account(services) for _ in range(4)]
    results = await asyncio.gather(
        *(
            services.members.invite(account.principal, "ada@example.com", Grant("viewer"))
            for account in accounts
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, Rejected)]
    assert [rejected.problem for rejected in refused] == [Problem.CONFLICT] * 3


async def test_the_last_owner_stays(client: httpx.AsyncClient) -> None:
    owner = await join(client, "owner@example.com", role="owner")
    invited = (await invite(client, "other@example.com", role="owner"))["id"]
    path = f"/v1/members/{owner}"
    assert (await client.patch(path, json={"role": "admin"})).status_code == 409
    assert (await client.patch(path, json={"permissions": sorted(RIGHTS)})).status_code == 409
    assert (await client.delete(path)).status_code == 409
    assert (await client.patch(path, json={"role": "owner"})).status_code == 200
    assert (await client.delete(f"/v1/members/{invited}")).status_code == 204
    await join(client, "second@example.com", role="owner")
    assert (await client.delete(path)).status_code == 204


async def owners_of(services: Services, account: Account) -> list[str]:
    members = await services.members.list(account.principal, None, 100)
    return [member.id for member in members if member.role == "owner"]


async def test_of_two_owners_who_go_at_once_one_stays(services: Services, account: Account) -> None:
    members, principal = services.members, account.principal
    for number in range(10):
        while len(owners := await owners_of(services, account)) < 2:
            email = f"{number}-{len(owners)}@example.com"
            _, token = await members.invite(principal, email, Grant("owner"))
            await members.accept(token)
        results = await asyncio.gather(
            members.remove(principal, owners[0]),
            members.change(principal, owners[1], Grant("viewer")),
            return_exceptions=True,
        )
        [refused] = [result for result in results if isinstance(result, Exception)]
        assert isinstance(refused, Rejected)
        assert refused.problem is Problem.CONFLICT
        assert len(await owners_of(services, account)) == 1


def listed(*rights: str) -> Grant:
    return Grant(CUSTOM, frozenset(rights))


def with_rights(account: Account, *rights: str, reach: Reach | None = None) -> Principal:
    return replace(account.principal, rights=frozenset(rights), reach=reach or Reach())


async def test_nobody_grants_more_than_they_have(services: Services, account: Account) -> None:
    members = services.members
    owner, _ = await members.invite(account.principal, "owner@example.com", Grant("owner"))
    viewer, _ = await members.invite(account.principal, "viewer@example.com", Grant("viewer"))
    admin = with_rights(account, *ROLES["admin"])
    weak = with_rights(account, "members:manage", *ROLES["viewer"])
    for call in (
        members.invite(admin, "x@example.com", Grant("owner")),
        members.invite(weak, "x@example.com", Grant("editor")),
        members.invite(weak, "x@example.com", listed("keys:manage")),
        members.change(admin, viewer.id, Grant("owner")),
        members.change(weak, owner.id, Grant("viewer")),
        members.remove(admin, owner.id),
        members.renew(admin, owner.id),
    ):
        with pytest.raises(Rejected) as raised:
            await call
        assert raised.value.problem is Problem.INSUFFICIENT_SCOPE
        assert raised.value.members["scope"] in RIGHTS
    await members.change(weak, viewer.id, listed("forms:read"))
    await members.remove(weak, viewer.id)


@pytest.mark.parametrize(
    "reach",
    [Reach(environment="production"), Reach(form_ids=frozenset()), Reach(is_sandbox=True)],
)
async def test_a_restricted_credential_manages_no_members(
    services: Services, account: Account, reach: Reach
) -> None:
    bound = with_rights(account, *RIGHTS, reach=reach)
    member, _ = await services.members.invite(account.principal, "a@example.com", Grant("viewer"))
    for call in (
        services.members.invite(bound, "x@example.com", Grant("viewer")),
        services.members.change(bound, member.id, Grant("viewer")),
        services.members.renew(bound, member.id),
        services.members.remove(bound, member.id),
    ):
        with pytest.raises(Rejected, match="insufficient-scope"):
            await call


@pytest.mark.parametrize("bound", [{"allowed_ips": ("192.0.2.0/24",)}, {"expires_at": 2**52}])
async def test_a_bound_credential_removes_members_only(
    services: Services, account: Account, bound: dict[str, Any]
) -> None:
    members, caller = services.members, replace(account.principal, **bound)
    member, _ = await members.invite(account.principal, "a@example.com", Grant("viewer"))
    for call in (
        members.invite(caller, "x@example.com", Grant("viewer")),
        members.change(caller, member.id, Grant("viewer")),
        members.renew(caller, member.id),
    ):
        with pytest.raises(Rejected, match=f"bound by {next(iter(bound))}"):
            await call
    await members.remove(caller, member.id)


async def test_a_plan_bounds_members_and_those_invited(
    services: Services, account: Account, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(file_megabytes=0, requests_per_minute=1, members=2)
    monkeypatch.setattr(services.members, "_plans", Plans({"small": plan}, "small"))

    async def add(name: str) -> tuple[MemberRow, str]:
        return await services.members.invite(
            account.principal, f"{name}@example.com", Grant("viewer")
        )

    first, _ = await add("a")
    await add("b")
    with pytest.raises(Rejected, match="allows 2 members"):
        await add("c")
    clock.advance(TWO_DAYS)
    await add("c")
    await add("d")
    with pytest.raises(Rejected, match="allows 2 members"):
        await services.members.renew(account.principal, first.id)


async def test_anothers_member_is_missing(client: httpx.AsyncClient, services: Services) -> None:
    other = await add_account(services)
    theirs, _ = await services.members.invite(other.principal, "t@example.com", Grant("viewer"))
    for id in (theirs.id, new_id("usr", 1), "x"):
        for answer in (
            await client.get(f"/v1/members/{id}"),
            await client.patch(f"/v1/members/{id}", json={"role": "viewer"}),
            await client.delete(f"/v1/members/{id}"),
            await client.post(f"/v1/members/{id}/invite"),
        ):
            assert (answer.status_code, answer.json()["detail"]) == (
                404,
                "There is no such member.",
            )


async def test_every_role_is_within_the_rights_and_within_the_one_above() -> None:
    order = [ROLES[name] for name in ("viewer", "editor", "admin", "owner")]
    assert all(lower < higher for lower, higher in zip(order, order[1:], strict=False))
    assert order[-1] == RIGHTS
