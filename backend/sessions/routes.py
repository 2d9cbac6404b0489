"""HTTP of signing in and of sessions."""

from backend.access import SESSION
from backend.operations import Call, Operation
from backend.paging import PageQuery, cut
from backend.sessions.schemas import (
    BegunSession,
    CurrentSession,
    LinkOnItsWay,
    PresentedLink,
    Session,
    SessionList,
    WantedLink,
)
from contracts.problems import Problem


async def send_sign_in_link(call: Call) -> LinkOnItsWay:
    wanted: WantedLink = call.body
    await call.services.sign_in_desk.ask(wanted.email, call.principal.caller)
    return LinkOnItsWay()


async def sign_in(call: Call) -> BegunSession:
    presented: PresentedLink = call.body
    new = await call.services.sign_in.use_link(presented.token, call.principal.caller)
    return BegunSession.begun(new)


async def get_current_session(call: Call) -> CurrentSession:
    return CurrentSession.of(await call.services.sessions.current(call.principal))


async def sign_out(call: Call) -> None:
    await call.services.sessions.end_current(call.principal)


async def list_sessions(call: Call) -> SessionList:
    query: PageQuery = call.query
    sessions, principal = call.services.sessions, call.principal
    rows = await sessions.list(principal, query.before("ses"), query.limit + 1)
    page, next_cursor = cut(rows, query.limit)
    last_seen_at = call.services.session_use.last_seen_at
    data = [Session.of(row, last_seen_at(row), principal.session_id) for row in page]
    return SessionList(data=data, next_cursor=next_cursor)


async def end_session(call: Call) -> None:
    await call.services.sessions.end(call.principal, call.path["session_id"])


async def sign_out_everywhere(call: Call) -> None:
    await call.services.sessions.end_all(call.principal)


operations = (
    Operation(
        method="POST",
        path="/v1/auth/magic-link",
        handler=send_sign_in_link,
        summary="Have a link mailed that signs in; the answer is the same for every address",
        right=None,
        body=WantedLink,
        answer=LinkOnItsWay,
        status=202,
    ),
    Operation(
        method="POST",
        path="/v1/auth/session",
        handler=sign_in,
        summary="Sign in with a link; the answer alone shows the session's token",
        right=None,
        body=PresentedLink,
        answer=BegunSession,
        status=201,
        problems=(Problem.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/v1/auth/session",
        handler=get_current_session,
        summary="Read who is signed in, and what they may do",
        right=SESSION,
        answer=CurrentSession,
    ),
    Operation(
        method="DELETE",
        path="/v1/auth/session",
        handler=sign_out,
        summary="Sign out",
        right=SESSION,
        status=204,
        problems=(Problem.NOT_FOUND,),
    ),
    Operation(
        method="GET",
        path="/v1/auth/sessions",
        handler=list_sessions,
        summary="List one's own sessions, newest first",
        right=SESSION,
        query=PageQuery,
        answer=SessionList,
    ),
    Operation(
        method="DELETE",
        path="/v1/auth/sessions",
        handler=sign_out_everywhere,
        summary="Sign out everywhere",
        right=SESSION,
        status=204,
    ),
    Operation(
        method="DELETE",
        path="/v1/auth/sessions/{session_id}",
        handler=end_session,
        summary="End one of one's own sessions",
        right=SESSION,
        status=204,
    ),
)
