"""E-mail addresses: each is a member's of one account, or invited by one."""

from backend.audit.record import SYSTEM, record_by
from backend.db import Connection
from backend.members import store
from contracts.problems import Problem, Rejected


async def check_address(connection: Connection, account_id: str, email: str, now_ms: int) -> None:
    """Whether an account may invite an address, in lower case; another account's invitation of it
    that has expired makes room. Raises Rejected(CONFLICT) if somebody has it."""
    await make_room(connection, account_id, email, now_ms)
    owner_id = await store.find_address(connection, email)
    if owner_id == account_id:
        raise Rejected(
            Problem.CONFLICT, "This address is a member's, or has been invited: see the members."
        )
    if owner_id is not None:
        raise taken()


async def make_room(connection: Connection, account_id: str, email: str, now_ms: int) -> None:
    """Removes another account's invitation of an address, in lower case, if it has expired."""
    lapsed = await store.delete_lapsed(connection, account_id, email, now_ms)
    if lapsed is not None:
        await record_by(
            connection, SYSTEM, lapsed.account_id, "member.removed", lapsed.id, now_ms,
            reason="the invitation had expired",
        )  # fmt: skip


def taken() -> Rejected:
    """The refusal of an address that is another account's, which is not told."""
    return Rejected(Problem.CONFLICT, "This address cannot be invited. Use another one.")
