"""Rules of environments: three are always there, and none goes while something is in it."""

from collections.abc import Sequence

from backend.access import EVERYTHING, Principal
from backend.answers import missing
from backend.audit.record import record
from backend.changes import bump_revision
from backend.db import Connection, Database
from backend.environments import store
from backend.environments.store import BUILT_IN, EnvironmentRow
from contracts.ids import is_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

ENVIRONMENTS_MAX = 20


class EnvironmentService:
    """The environments of an account.

    A credential of one environment sees that one; only one without a restriction changes them.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def list(
        self, principal: Principal, before: str | None, limit: int
    ) -> Sequence[EnvironmentRow]:
        """Environments, newest first."""
        name = principal.reach.environment
        async with self._database.read() as connection:
            return await store.list_environments(
                connection, principal.account_id, name, before, limit
            )

    async def get(self, principal: Principal, id: str) -> EnvironmentRow:
        """One environment. Raises Rejected(NOT_FOUND)."""
        async with self._database.read() as connection:
            return await _find(connection, principal, id)

    async def create(self, principal: Principal, name: str) -> EnvironmentRow:
        """A new environment. Raises Rejected: INSUFFICIENT_SCOPE, CONFLICT."""
        _require_whole_account(principal)
        async with self._database.write() as connection:
            # The counter's lock: of two of the same name at once, the second sees the first.
            await bump_revision(connection)
            taken = await store.environment_names(connection, principal.account_id)
            if name in taken:
                raise Rejected(Problem.CONFLICT, f"There is an environment {name} already.")
            if len(taken) >= ENVIRONMENTS_MAX:
                most = f"An account has {ENVIRONMENTS_MAX} environments at most. Remove one first."
                raise Rejected(Problem.CONFLICT, most)
            now_ms = self._clock.now_ms()
            [row] = await store.insert_environments(
                connection, principal.account_id, [name], now_ms
            )
            await record(connection, principal, "environment.created", row.id, now_ms, name=name)
        return row

    async def delete(self, principal: Principal, id: str) -> None:
        """Removes an environment. Raises Rejected: INSUFFICIENT_SCOPE, NOT_FOUND, CONFLICT."""
        async with self._database.write() as connection:
            # The counter's lock: forms and keys that come into the environment take it, too.
            await bump_revision(connection)
            row = await _find(connection, principal, id)
            _require_whole_account(principal)
            now_ms = self._clock.now_ms()
            if row.name in BUILT_IN:
                raise Rejected(Problem.CONFLICT, f"Every account has {row.name}: it stays.")
            if await store.is_environment_used(connection, principal.account_id, row.name, now_ms):
                raise Rejected(
                    Problem.CONFLICT,
                    f"Forms or API keys belong to {row.name}. Move, delete or revoke them first.",
                )
            await store.delete_environment(connection, principal.account_id, id)
            await record(connection, principal, "environment.removed", id, now_ms, name=row.name)


async def _find(connection: Connection, principal: Principal, id: str) -> EnvironmentRow:
    if not is_id(id, "env"):
        raise missing("environment")
    row = await store.find_environment(connection, principal.account_id, id)
    if row is None or principal.reach.environment not in {None, row.name}:
        raise missing("environment")
    return row


def _require_whole_account(principal: Principal) -> None:
    if principal.reach != EVERYTHING:
        raise Rejected(
            Problem.INSUFFICIENT_SCOPE,
            "This credential reaches a part of the account only: environments are changed with one "
            "that reaches all of it.",
        )
