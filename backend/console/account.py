"""The account, its plan and its environments; and whoever is signed in: who they are, what they
may, and where."""

from typing import Any

from starlette.responses import Response

from backend.accounts.routes import Account
from backend.console.pages import Page
from backend.console.rights import groups_of
from backend.console.sign_in import signed_out
from backend.console.visits import Visit
from backend.environments.routes import Environment, EnvironmentList
from backend.plans.routes import PlanList
from backend.sessions.schemas import CurrentSession, SessionList
from contracts.problems import Rejected

_ACCOUNT = ("GET", "/v1/account")
_CHANGE = ("PATCH", "/v1/account")
_PLANS = ("GET", "/v1/plans")
_ENVIRONMENTS = ("GET", "/v1/environments")
_ADD_ENVIRONMENT = ("POST", "/v1/environments")
_ENVIRONMENT = ("GET", "/v1/environments/{environment_id}")
_REMOVE_ENVIRONMENT = ("DELETE", "/v1/environments/{environment_id}")
_SESSION = ("GET", "/v1/auth/session")
_SESSIONS = ("GET", "/v1/auth/sessions")
_END_SESSION = ("DELETE", "/v1/auth/sessions/{session_id}")
_END_ALL = ("DELETE", "/v1/auth/sessions")
_HOME = "/account"
_AT_ONCE = 100
_READS = (_ACCOUNT, _CHANGE, _PLANS, _ENVIRONMENTS, _ADD_ENVIRONMENT, _SESSION, _SESSIONS)


async def show_account(visit: Visit) -> Response:
    return visit.render("account_page.html", **await _context(visit))


async def change_account(visit: Visit) -> Response:
    body = {name: visit.text(name) for name in ("name", "plan") if name in visit.form}
    try:
        await visit.api.ask(Account, *_CHANGE, body=body)
    except Rejected as rejected:
        return visit.refused("account_page.html", rejected, **await _context(visit))
    return visit.go(_HOME, "saved")


async def add_environment(visit: Visit) -> Response:
    body = {"name": visit.text("environment")}
    try:
        await visit.api.ask(Environment, *_ADD_ENVIRONMENT, body=body)
    except Rejected as rejected:
        context = await _context(visit, environment=body["name"])
        return visit.refused("account_page.html", rejected, **context)
    return visit.go(_HOME, "environment-added")


async def show_environment_removal(visit: Visit) -> Response:
    visit.api.require(*_REMOVE_ENVIRONMENT)
    environment = await visit.api.ask(Environment, *_ENVIRONMENT, at=visit.path)
    return visit.render("account_environment.html", environment=environment)


async def remove_environment(visit: Visit) -> Response:
    environment = await visit.api.ask(Environment, *_ENVIRONMENT, at=visit.path)
    try:
        await visit.api.call(*_REMOVE_ENVIRONMENT, at=visit.path)
    except Rejected as rejected:
        return visit.refused("account_environment.html", rejected, environment=environment)
    return visit.go(_HOME, "environment-removed")


async def end_session(visit: Visit) -> Response:
    await visit.api.call(*_END_SESSION, at=visit.path)
    if visit.path["session_id"] == visit.principal.session_id:
        return signed_out(visit, "signed-out")
    return visit.go(_HOME, "session-ended")


async def sign_out_everywhere(visit: Visit) -> Response:
    await visit.api.call(*_END_ALL)
    return signed_out(visit, "signed-out-everywhere")


async def _context(visit: Visit, environment: str = "") -> dict[str, Any]:
    """What the page shows; ``environment`` is the name of one that could not be added."""
    api, every = visit.api, {"limit": _AT_ONCE}
    account = plans = environments = None
    if api.may(*_ACCOUNT):
        account = await api.ask(Account, *_ACCOUNT)
    if api.may(*_PLANS):
        plans = (await api.ask(PlanList, *_PLANS)).data
    if api.may(*_ENVIRONMENTS):
        environments = (await api.ask(EnvironmentList, *_ENVIRONMENTS, query=every)).data[::-1]
    session = await api.ask(CurrentSession, *_SESSION)
    sessions = await api.ask(SessionList, *_SESSIONS, query=every)
    return {
        "account": account,
        "name": visit.text("name") if "name" in visit.form or not account else account.name,
        "may_change": api.may(*_CHANGE),
        "plans": [(plan.name, plan.title) for plan in plans or ()],
        "environments": environments,
        "environment": environment,
        "may_add_environment": api.may(*_ADD_ENVIRONMENT),
        "session": session,
        "sessions": sessions.data,
        "granted": groups_of(frozenset(session.user.permissions)),
    }


pages = (
    Page(method="GET", path=_HOME, handler=show_account, uses=_READS),
    Page(method="POST", path=_HOME, handler=change_account, uses=_READS),
    Page(method="POST", path="/account/environments", handler=add_environment, uses=_READS),
    Page(
        method="GET",
        path="/account/environments/{environment_id}/remove",
        handler=show_environment_removal,
        uses=(_ENVIRONMENT, _REMOVE_ENVIRONMENT),
    ),
    Page(
        method="POST",
        path="/account/environments/{environment_id}/remove",
        handler=remove_environment,
        uses=(_ENVIRONMENT, _REMOVE_ENVIRONMENT),
    ),
    Page(
        method="POST",
        path="/account/sessions/{session_id}/end",
        handler=end_session,
        uses=(_END_SESSION,),
    ),
    Page(
        method="POST",
        path="/account/sessions/end",
        handler=sign_out_everywhere,
        uses=(_END_ALL,),
    ),
)
