"""How a form comes to be: its members' defaults, its slug, its row."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from backend.accounts.store import owner_email
from backend.db import Connection
from backend.forms import store
from backend.forms.slugs import first_free, slug_of
from backend.forms.store import FormRow
from contracts.fields import DeclaredField
from contracts.forms import FormStatus, TurnstileOnOutage
from contracts.ids import new_id
from contracts.problems import Problem, Rejected

SLUG_KEPT_MS = 30 * 24 * 3600 * 1000
_NAME_MAX = 200
_COPY = " (copy)"


@dataclass(frozen=True, slots=True)
class NewForm:
    """A form to create; without a slug its name yields one, and without ``notify_emails`` the
    account's owner is told. ``turnstile_secret`` is sealed."""

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
    environment: str = "production"
    notify_emails: str | None = None
    from_address: str | None = None
    subject_template: str | None = None
    autoresponse_enabled: bool = False
    autoresponse_subject: str | None = None
    autoresponse_message: str | None = None
    retention_days: int | None = None
    fields: Sequence[DeclaredField] = ()
    enforce_fields: bool = False
    silence_alarm_enabled: bool = True


_MEMBERS = [field.name for field in fields(NewForm)]


def copy_of(form: FormRow, name: str | None, slug: str | None) -> NewForm:
    """A form of the same settings; without a name, of that of ``form`` and "(copy)"."""
    settings = NewForm(**{member: getattr(form, member) for member in _MEMBERS})
    name = name or form.name[: _NAME_MAX - len(_COPY)] + _COPY
    return replace(settings, name=name, slug=slug)


async def add_form(
    connection: Connection, account_id: str, new: NewForm, revision: int, now_ms: int
) -> FormRow:
    """Stores a form, stamped with a revision that this transaction has taken before anything else:
    the counter's lock lets one transaction at a time choose a slug.

    Raises:
        Rejected: CONFLICT.
        SlugTaken: the transaction is spent.
    """
    slug = await _choose_slug(connection, new, now_ms - SLUG_KEPT_MS)
    notify_emails = new.notify_emails
    if notify_emails is None:
        notify_emails = await owner_email(connection, account_id) or ""
    members = {member: getattr(new, member) for member in _MEMBERS}
    given = members | {
        "slug": slug,
        "notify_emails": notify_emails,
        "redirect_hosts": tuple(new.redirect_hosts),
        "allowed_origins": tuple(new.allowed_origins),
        "fields": tuple(new.fields),
    }
    form = FormRow(
        id=new_id("frm", now_ms),
        account_id=account_id,
        revision=revision,
        created_at=now_ms,
        updated_at=now_ms,
        **given,
    )
    await store.insert_form(connection, form)
    return form


async def _choose_slug(connection: Connection, new: NewForm, freed_at: int) -> str:
    if new.slug is not None:
        if await store.is_slug_taken(connection, new.slug, freed_at):
            raise slug_taken(new.slug)
        slug = new.slug
    else:
        wanted = slug_of(new.name)
        slug = first_free(wanted, await store.taken_slugs(connection, wanted, freed_at))
    await store.clear_tombstone(connection, slug)
    return slug


def slug_taken(slug: str) -> Rejected:
    """The refusal of a slug."""
    return Rejected(
        Problem.CONFLICT,
        f"The slug {slug} is taken, or belonged to a form deleted in the last 30 days.",
    )
