"""Members: who they are and what they may, inviting somebody, another role, and removing them."""

from typing import Any

from starlette.responses import Response

from backend.accounts.roles import CUSTOM, OWNER, ROLES
from backend.console.pages import Page
from backend.console.paging import page_links, page_query
from backend.console.rights import groups_of
from backend.console.visits import Visit
from backend.members.schemas import InvitedMember, Member, MemberList
from contracts.problems import Rejected
from contracts.runtime.clock import iso

_MEMBERS = ("GET", "/v1/members")
_INVITE = ("POST", "/v1/members")
_MEMBER = ("GET", "/v1/members/{member_id}")
_CHANGE = ("PATCH", "/v1/members/{member_id}")
_REMOVE = ("DELETE", "/v1/members/{member_id}")
_RENEW = ("POST", "/v1/members/{member_id}/invite")
_LIST = "/members"
_ONE = "/members/{member_id}"
_ROLE = "viewer"
ROLE_WORDS = (
    (OWNER, "Owner", "Everything, and makes others owners."),
    ("admin", "Admin", "Everything but owners and bills."),
    ("editor", "Editor", "Forms, submissions and webhooks."),
    ("viewer", "Viewer", "Looks at forms and submissions, and changes nothing."),
    (CUSTOM, "What I tick", "Right by right."),
)


async def show_members(visit: Visit) -> Response:
    members = await visit.api.ask(MemberList, *_MEMBERS, query=page_query(visit))
    return visit.render(
        "member_list.html",
        members=[member for member in members.data if member.status == "active"],
        invited=[member for member in members.data if member.status == "invited"],
        may_manage=visit.api.may(*_INVITE),
        own_id=visit.principal.user_id,
        now=_now(visit),
        **page_links(visit, members.next_cursor),
    )


async def show_new_member(visit: Visit) -> Response:
    visit.api.require(*_INVITE)
    return visit.render("member_new.html", email="", **_grants(visit, _ROLE, []))


async def invite_member(visit: Visit) -> Response:
    body, email = _granted(visit), visit.text("email")
    try:
        invited = await visit.api.ask(InvitedMember, *_INVITE, body=body | {"email": email})
    except Rejected as rejected:
        context = _grants(visit, visit.text("role"), _ticked(visit))
        return visit.refused("member_new.html", rejected, email=email, **context)
    return _shown_once(visit, invited)


async def show_member(visit: Visit) -> Response:
    member = await visit.api.ask(Member, *_MEMBER, at=visit.path)
    grants = _grants(visit, member.role, member.permissions)
    return visit.render("member_detail.html", **_detail(visit, member), **grants)


async def change_member(visit: Visit) -> Response:
    member = await visit.api.ask(Member, *_MEMBER, at=visit.path)
    try:
        await visit.api.ask(Member, *_CHANGE, at=visit.path, body=_granted(visit))
    except Rejected as rejected:
        grants = _grants(visit, visit.text("role"), _ticked(visit))
        context = _detail(visit, member) | grants
        return visit.refused("member_detail.html", rejected, **context)
    return visit.go(f"{_LIST}/{member.id}", "saved")


async def renew_invitation(visit: Visit) -> Response:
    try:
        renewed = await visit.api.ask(InvitedMember, *_RENEW, at=visit.path)
    except Rejected as rejected:
        member = await visit.api.ask(Member, *_MEMBER, at=visit.path)
        context = _detail(visit, member) | _grants(visit, member.role, member.permissions)
        return visit.refused("member_detail.html", rejected, **context)
    return _shown_once(visit, renewed)


async def show_removal(visit: Visit) -> Response:
    visit.api.require(*_REMOVE)
    member = await visit.api.ask(Member, *_MEMBER, at=visit.path)
    return visit.render("member_remove.html", **_detail(visit, member))


async def remove_member(visit: Visit) -> Response:
    member = await visit.api.ask(Member, *_MEMBER, at=visit.path)
    try:
        await visit.api.call(*_REMOVE, at=visit.path)
    except Rejected as rejected:
        return visit.refused("member_remove.html", rejected, **_detail(visit, member))
    return visit.go(_LIST, "member-removed" if member.status == "active" else "invitation-gone")


def _detail(visit: Visit, member: Member) -> dict[str, Any]:
    return {
        "member": member,
        "is_self": member.id == visit.principal.user_id,
        "granted": groups_of(frozenset(member.permissions)),
        # Whoever has more than the visitor is beyond them.
        "may_manage": visit.principal.has("members:manage")
        and visit.principal.rights >= frozenset(member.permissions),
        "now": _now(visit),
    }


def _grants(visit: Visit, role: str, permissions: list[str]) -> dict[str, Any]:
    """What the visitor can give to somebody, and what is chosen."""
    rights = visit.principal.rights
    return {
        "roles": [each for each in ROLE_WORDS if each[0] == CUSTOM or rights >= ROLES[each[0]]],
        "role": role,
        "rights": groups_of(rights),
        "permissions": permissions,
    }


def _granted(visit: Visit) -> dict[str, Any]:
    """What the form gives: a role, or what is ticked."""
    role = visit.text("role")
    return {"permissions": _ticked(visit)} if role == CUSTOM else {"role": role}


def _ticked(visit: Visit) -> list[str]:
    return [text for text in visit.form.getlist("permissions") if isinstance(text, str)]


def _shown_once(visit: Visit, invited: InvitedMember) -> Response:
    """The page that alone shows the link of an invitation."""
    settings = visit.services.settings
    return visit.render(
        "member_invited.html",
        member=invited,
        link=f"{settings.public_origin()}/invitation?token={invited.invitation}",
        is_mailed=settings.secret_key is not None,
        has_mailbox=visit.services.mailbox is not None,
    )


def _now(visit: Visit) -> str:
    return iso(visit.services.clock.now_ms())


pages = (
    Page(method="GET", path=_LIST, handler=show_members, uses=(_MEMBERS, _INVITE)),
    Page(method="POST", path=_LIST, handler=invite_member, uses=(_INVITE,)),
    Page(method="GET", path="/members/new", handler=show_new_member, uses=(_INVITE,)),
    Page(method="GET", path=_ONE, handler=show_member, uses=(_MEMBER,)),
    Page(method="POST", path=_ONE, handler=change_member, uses=(_MEMBER, _CHANGE)),
    Page(method="POST", path=f"{_ONE}/invite", handler=renew_invitation, uses=(_MEMBER, _RENEW)),
    Page(method="GET", path=f"{_ONE}/remove", handler=show_removal, uses=(_MEMBER, _REMOVE)),
    Page(method="POST", path=f"{_ONE}/remove", handler=remove_member, uses=(_MEMBER, _REMOVE)),
)
