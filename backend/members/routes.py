"""HTTP of members and invitations."""

from backend.api import Call, Operation
from backend.members.schemas import (
    AcceptInvitation,
    ChangeMember,
    InvitedMember,
    JoinedMember,
    Member,
    MemberList,
    NewMember,
)
from backend.paging import PageQuery, cut
from backend.sessions.schemas import BegunSession
from contracts.problems import Problem


async def list_members(call: Call) -> MemberList:
    query: PageQuery = call.query
    rows = await call.services.members.list(call.principal, query.before("usr"), query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    return MemberList(data=[Member.of(row) for row in page], next_cursor=next_cursor)


async def invite_member(call: Call) -> InvitedMember:
    new: NewMember = call.body
    row, token = await call.services.members.invite(call.principal, new.email, new.grant)
    return InvitedMember.of(row, invitation=token)


async def get_member(call: Call) -> Member:
    return Member.of(await call.services.members.get(call.principal, call.path["member_id"]))


async def change_member(call: Call) -> Member:
    change: ChangeMember = call.body
    members = call.services.members
    return Member.of(await members.change(call.principal, call.path["member_id"], change.grant))


async def remove_member(call: Call) -> None:
    await call.services.members.remove(call.principal, call.path["member_id"])


async def renew_invitation(call: Call) -> InvitedMember:
    row, token = await call.services.members.renew(call.principal, call.path["member_id"])
    return InvitedMember.of(row, invitation=token)


async def accept_invitation(call: Call) -> JoinedMember:
    accepted: AcceptInvitation = call.body
    joined = await call.services.members.accept(accepted.token, call.principal.caller)
    return JoinedMember.of(joined.member, session=BegunSession.begun(joined.session))


operations = (
    Operation(
        method="GET",
        path="/v1/members",
        handler=list_members,
        summary="List members and those invited, newest first",
        right="members:read",
        query=PageQuery,
        answer=MemberList,
    ),
    Operation(
        method="POST",
        path="/v1/members",
        handler=invite_member,
        summary="Invite somebody; the answer alone shows the invitation",
        right="members:manage",
        body=NewMember,
        answer=InvitedMember,
        status=201,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="GET",
        path="/v1/members/{member_id}",
        handler=get_member,
        summary="Read a member",
        right="members:read",
        answer=Member,
    ),
    Operation(
        method="PATCH",
        path="/v1/members/{member_id}",
        handler=change_member,
        summary="Give a member another role or a list of permissions",
        right="members:manage",
        body=ChangeMember,
        answer=Member,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="DELETE",
        path="/v1/members/{member_id}",
        handler=remove_member,
        summary="Remove a member, or take an invitation back",
        right="members:manage",
        status=204,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="POST",
        path="/v1/members/{member_id}/invite",
        handler=renew_invitation,
        summary="Renew an invitation; the answer alone shows it",
        right="members:manage",
        answer=InvitedMember,
        problems=(Problem.CONFLICT,),
    ),
    Operation(
        method="POST",
        path="/v1/invitations/accept",
        handler=accept_invitation,
        summary="Accept an invitation, and be signed in",
        right=None,
        body=AcceptInvitation,
        answer=JoinedMember,
        problems=(Problem.NOT_FOUND,),
    ),
)
