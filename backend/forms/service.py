"""Rules of forms: slugs, deletion, and a new revision for every change."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.access import Principal
from backend.answers import missing
from backend.changes import ChangeFeed, bump_revision
from backend.db import Connection, Database
from backend.files import FileStore, delete_quietly
from backend.forms import store
from backend.forms.slugs import first_free, slug_of
from backend.forms.store import FormRow, SlugTaken
from backend.forms.turnstile import TurnstileRules
from contracts.forms import FormStatus, TurnstileOnOutage
from contracts.ids import is_id, new_id
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock

SLUG_KEPT_MS = 30 * 24 * 3600 * 1000
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class NewForm:
    """A form to create; without a slug its name yields one. ``turnstile_secret`` is sealed."""

    name: str
    slug: str | None = None
    status: str = FormStatus.LIVE.value
    honeypot_enabled: bool = True
    honeypot_field: str = "_gotcha"
    redirect_url: str | None = None
    redirect_hosts: Sequence[str] = ()
    mode: str = "live"
    allowed_origins: Sequence[str] = ()
    rate_limit_per_minute: int = 10
    idempotency_strict: bool = False
    turnstile_enabled: bool = False
    turnstile_site_key: str | None = None
    turnstile_secret: str | None = None
    turnstile_skip_with_key: bool = True
    turnstile_on_outage: str = TurnstileOnOutage.REFUSE.value


async def add_form(connection: Connection, account_id: str, new: NewForm, now_ms: int) -> FormRow:
    """Stores a form and stamps it with a new revision. Raises Rejected(CONFLICT)."""
    # First of all: the counter's lock lets one transaction at a time choose a slug.
    revision = await bump_revision(connection)
    slug = await _choose_slug(connection, new, now_ms - SLUG_KEPT_MS)
    form = FormRow(
        id=new_id("frm", now_ms),
        account_id=account_id,
        slug=slug,
        name=new.name,
        status=new.status,
        honeypot_enabled=new.honeypot_enabled,
        honeypot_field=new.honeypot_field,
        redirect_url=new.redirect_url,
        redirect_hosts=tuple(new.redirect_hosts),
        mode=new.mode,
        allowed_origins=tuple(new.allowed_origins),
        rate_limit_per_minute=new.rate_limit_per_minute,
        idempotency_strict=new.idempotency_strict,
        turnstile_enabled=new.turnstile_enabled,
        turnstile_site_key=new.turnstile_site_key,
        turnstile_secret=new.turnstile_secret,
        turnstile_skip_with_key=new.turnstile_skip_with_key,
        turnstile_on_outage=new.turnstile_on_outage,
        revision=revision,
        created_at=now_ms,
        updated_at=now_ms,
    )
    await store.insert_form(connection, form)
    return form


async def _choose_slug(connection: Connection, new: NewForm, freed_at: int) -> str:
    wanted = new.slug or slug_of(new.name)
    taken = await store.taken_slugs(connection, wanted, freed_at)
    if new.slug is not None and new.slug in taken:
        raise _slug_taken(new.slug)
    slug = first_free(wanted, taken)
    await store.clear_tombstone(connection, slug, freed_at)
    return slug


class FormService:
    """The forms of an account."""

    def __init__(
        self,
        database: Database,
        feed: ChangeFeed,
        clock: Clock,
        turnstile: TurnstileRules,
        files: FileStore,
    ) -> None:
        self._database = database
        self._feed = feed
        self._clock = clock
        self._turnstile = turnstile
        self._files = files

    async def create(self, principal: Principal, members: dict[str, Any]) -> FormRow:
        """A new form of these members.

        Raises:
            Rejected: CONFLICT if the slug it asks for is taken, VALIDATION_ERROR.
        """
        new = NewForm(**self._turnstile.applied(members, None))
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.write() as connection:
                    row = await add_form(
                        connection, principal.account_id, new, self._clock.now_ms()
                    )
            except SlugTaken:
                continue
            self._feed.announce()
            return row
        raise _slug_taken(new.slug or slug_of(new.name))

    async def list(self, principal: Principal, before: str | None, limit: int) -> Sequence[FormRow]:
        """Forms, newest first."""
        async with self._database.read() as connection:
            return await store.list_forms(connection, principal.account_id, before, limit)

    async def get(self, principal: Principal, id: str) -> FormRow:
        """One form. Raises Rejected(NOT_FOUND)."""
        if not is_id(id, "frm"):
            raise missing("form")
        async with self._database.read() as connection:
            row = await store.find_form(connection, principal.account_id, id)
        if row is None:
            raise missing("form")
        return row

    async def change(self, principal: Principal, id: str, changes: dict[str, Any]) -> FormRow:
        """The form with the named members changed. Raises Rejected: NOT_FOUND, VALIDATION_ERROR."""
        form = await self.get(principal, id)
        if not changes:
            return form
        changes = self._turnstile.applied(changes, form)
        async with self._database.write() as connection:
            values = changes | {
                "revision": await bump_revision(connection),
                "updated_at": self._clock.now_ms(),
            }
            row = await store.update_form(connection, principal.account_id, id, values)
        if row is None:
            raise missing("form")
        self._feed.announce()
        return row

    async def delete(self, principal: Principal, id: str) -> None:
        """Deletes a form with its submissions; its slug stays taken for 30 days.

        Raises:
            Rejected: NOT_FOUND.
        """
        if not is_id(id, "frm"):
            raise missing("form")
        async with self._database.write() as connection:
            # The counter first, as everywhere: locks taken in one order cannot block each other.
            revision = await bump_revision(connection)
            if not await store.lock_form(connection, principal.account_id, id):
                raise missing("form")
            keys = await store.bury_form(connection, id, self._clock.now_ms(), revision)
        self._feed.announce()
        await delete_quietly(self._files, keys)


def _slug_taken(slug: str) -> Rejected:
    return Rejected(
        Problem.CONFLICT,
        f"The slug {slug} is taken, or belonged to a form deleted in the last 30 days.",
    )
