"""Members who are signed in, and links to sign in with."""

from collections.abc import Collection
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
from sqlalchemy import select

from backend.accounts.roles import CUSTOM, Grant
from backend.caller import Caller
from backend.members.service import Joined
from backend.sealing import Sealer
from backend.services import Services
from backend.tables import outbox
from tests.backend.builders import Account

_numbers = count(1)


async def join(
    services: Services,
    account: Account,
    role: str = "owner",
    rights: Collection[str] | None = None,
    email: str = "",
    caller: Caller | None = None,
) -> Joined:
    """A new member of the account, with a role or some rights, signed in from somewhere."""
    grant = Grant(role) if rights is None else Grant(CUSTOM, frozenset(rights))
    email = email or f"member-{next(_numbers)}@example.com"
    _, token = await services.members.invite(account.principal, email, grant)
    return await services.members.accept(token, caller or Caller("192.0.2.1", "a browser"))


def bearer(joined: Joined) -> dict[str, str]:
    """The headers of a request in the session of somebody who has joined."""
    return {"Authorization": f"Bearer {joined.session.token}"}


def token_of(url: str) -> str:
    """The token in a link."""
    [token] = parse_qs(urlsplit(url).query)["token"]
    return token


async def link_token(services: Services, email: str) -> str:
    """The token of a fresh link, as the operator makes one."""
    url = await services.sign_in.make_link(email)
    assert url is not None
    return token_of(url)


async def sign_in(client: httpx.AsyncClient, token: str, **headers: str) -> httpx.Response:
    """Uses a link, without a credential."""
    body = {"token": token}
    return await client.post("/v1/auth/session", json=body, headers={"Authorization": ""} | headers)


async def letters(services: Services, event: str) -> list[dict[str, Any]]:
    """The letters that wait to be mailed, oldest first: what each says, and its ``recipient``."""
    await services.sign_in_desk.flush()
    query = select(outbox.c.details).where(outbox.c.event == event).order_by(outbox.c.created_at)
    async with services.database.read() as connection:
        rows = (await connection.execute(query)).scalars().all()
    found = []
    for row in rows:
        details = orjson.loads(row or "{}")
        said = orjson.loads(Sealer(services.settings).unseal(details["sealed"]))
        found.append(said | {"recipient": details["recipient"]})
    return found
