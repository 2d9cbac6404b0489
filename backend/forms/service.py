"""Rules of forms: slugs, deletion, and a new revision for every change."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backend.access import Principal
from backend.answers import missing
from backend.audit.actions import Action
from backend.audit.record import record
from backend.changes import ChangeFeed, bump_revision
from backend.db import Database
from backend.forms import store
from backend.forms.creation import NewForm, add_form, copy_of, slug_taken
from backend.forms.rules import (
    check_account,
    check_fields,
    check_may_create,
    check_stays_within,
    with_defaults,
)
from backend.forms.slugs import slug_of
from backend.forms.store import FormRow, SlugTaken
from backend.forms.turnstile import TurnstileRules
from backend.plans.catalogue import Plans
from backend.removal.service import Removal
from contracts.fields import field_of
from contracts.ids import is_id
from contracts.runtime.clock import Clock

_ATTEMPTS = 3


class FormService:
    """The forms of an account, as far as a credential reaches them."""

    def __init__(
        self,
        database: Database,
        feed: ChangeFeed,
        clock: Clock,
        plans: Plans,
        turnstile: TurnstileRules,
        removal: Removal,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._plans = plans
        self._turnstile = turnstile
        self._removal = removal

    async def create(self, principal: Principal, members: dict[str, Any]) -> FormRow:
        """A new form of these members.

        Raises:
            Rejected: CONFLICT if the slug it asks for is taken, VALIDATION_ERROR,
                INSUFFICIENT_SCOPE for a form that the credential would not reach.
        """
        check_may_create(principal.reach)
        members = with_defaults(principal.reach, _decoded(members))
        check_stays_within(principal.reach, members)
        new = NewForm(**self._turnstile.applied(members, None))
        check_fields(new)
        return await self._add(principal, new, members, "form.created")

    async def duplicate(
        self, principal: Principal, id: str, name: str | None, slug: str | None
    ) -> FormRow:
        """A new form with the settings of another, without its submissions.

        Raises:
            Rejected: NOT_FOUND, CONFLICT if the slug it asks for is taken, INSUFFICIENT_SCOPE.
        """
        check_may_create(principal.reach)
        form = await self.get(principal, id)
        new, limited = copy_of(form, name, slug), {"environment": form.environment}
        return await self._add(principal, new, limited, "form.duplicated", of=id)

    async def list(
        self,
        principal: Principal,
        before: str | None,
        limit: int,
        *,
        environment: str | None = None,
        status: str | None = None,
    ) -> Sequence[FormRow]:
        """Forms, newest first."""
        async with self._database.read() as connection:
            return await store.list_forms(
                connection,
                principal.account_id,
                principal.reach,
                before,
                limit,
                environment=environment,
                status=status,
            )

    async def get(self, principal: Principal, id: str) -> FormRow:
        """One form. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "frm"):
            raise missing("form")
        async with self._database.read() as connection:
            row = await store.find_form(connection, principal.account_id, principal.reach, id)
        if row is None:
            raise missing("form")
        return row

    async def change(self, principal: Principal, id: str, changes: dict[str, Any]) -> FormRow:
        """The form with the named members changed.

        Raises:
            Rejected: NOT_FOUND, VALIDATION_ERROR, INSUFFICIENT_SCOPE for a change that would take
                the form out of the credential's reach.
        """
        held = await self.get(principal, id)
        if not changes:
            return held
        check_stays_within(principal.reach, changes)
        async with self._database.write() as connection:
            # The counter first, as everywhere: locks taken in one order cannot block each other,
            # and what is read from here on stays as it is.
            revision = await bump_revision(connection)
            form = await store.find_form(connection, principal.account_id, principal.reach, id)
            if form is None:
                raise missing("form")
            values = self._turnstile.applied(_decoded(changes), form)
            await check_account(connection, principal, self._plans, values)
            check_fields(replace(form, **values))
            now_ms = self._clock.now_ms()
            stamps = {"revision": revision, "updated_at": now_ms}
            row = await store.update_form(connection, id, values | stamps)
            await record(connection, principal, "form.changed", id, now_ms, members=sorted(changes))
        self._feed.announce()
        return row

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a form with its submissions; its slug stays taken for 30 days.

        From the answer on nobody reaches any of it. The rows and files of a large form are removed
        behind it.

        Raises:
            Rejected: NOT_FOUND.
        """
        if not is_id(id, "frm"):
            raise missing("form")
        async with self._database.write() as connection:
            revision = await bump_revision(connection)
            form = await store.lock_form(connection, principal.account_id, principal.reach, id)
            if form is None:
                raise missing("form")
            now_ms = self._clock.now_ms()
            await store.bury_form(connection, id, now_ms, revision)
            removed = await self._removal.begin(connection, id)
            await record(
                connection, principal, "form.deleted", id, now_ms, name=form.name, slug=form.slug
            )
        self._feed.announce()
        await self._removal.go_on(removed)

    async def _add(
        self,
        principal: Principal,
        new: NewForm,
        limited: dict[str, Any],
        action: Action,
        **details: Any,
    ) -> FormRow:
        """Adds a form whose ``limited`` members the account must allow."""
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.write() as connection:
                    revision = await bump_revision(connection)
                    now_ms = self._clock.now_ms()
                    await check_account(connection, principal, self._plans, limited)
                    row = await add_form(connection, principal.account_id, new, revision, now_ms)
                    details |= {"name": row.name, "slug": row.slug}
                    await record(connection, principal, action, row.id, now_ms, **details)
            except SlugTaken:
                continue
            self._feed.announce()
            return row
        raise slug_taken(new.slug or slug_of(new.name))


def _decoded(members: dict[str, Any]) -> dict[str, Any]:
    """The members as they are kept: declared fields as such."""
    if "fields" not in members:
        return members
    return members | {"fields": tuple(field_of(field) for field in members["fields"])}
