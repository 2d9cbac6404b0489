"""The first start: an account, its owner, a form to try and a key."""

from dataclasses import dataclass, replace

from backend.accounts import store
from backend.audit.record import SYSTEM, record_by
from backend.changes import bump_revision
from backend.db import Connection
from backend.forms.creation import NewForm, add_form
from backend.keys.service import NewKey, add_key
from backend.services import Services
from contracts.ids import new_id
from contracts.keys import ApiKey, KeyKind, mint_key
from contracts.problems import Problem, Rejected

DEMO_SLUG = "demo"


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a new operator needs to know. ``management_key`` is the full key, and ``sign_in_url`` a
    link that signs the owner in once, only when this call created them; ``demo_slug`` and
    ``demo_form_id`` are None once the demo form is deleted."""

    owner_email: str
    demo_slug: str | None
    demo_form_id: str | None
    management_key: str | None
    sign_in_url: str | None


async def bootstrap(services: Services) -> Bootstrap:
    """Fills an empty database; afterwards tells what is there. Safe to call at every start."""
    existing = await _find(services)
    if existing is not None:
        return existing
    # Hashed before the transaction: it takes a third of a second.
    key = mint_key(KeyKind.MANAGEMENT)
    secret_hash = await services.hasher.hash(key.secret)
    async with services.database.write() as connection:
        # The counter's lock: of two first starts at once, the second sees the first's account.
        revision = await bump_revision(connection)
        is_first = await store.first_account_id(connection) is None
        if is_first:
            sign_in_url = await _fill(connection, services, key, secret_hash, revision)
    services.feed.announce()
    filled = await _find(services)
    if filled is None:
        raise Rejected(Problem.CONFLICT, "The account was removed while it was being set up.")
    if not is_first:
        return filled
    return replace(filled, management_key=key.text, sign_in_url=sign_in_url)


async def _find(services: Services) -> Bootstrap | None:
    async with services.database.read() as connection:
        account_id = await store.first_account_id(connection)
        if account_id is None:
            return None
        email = await store.owner_email(connection, account_id)
        demo_id = await store.form_id(connection, account_id, DEMO_SLUG)
    return Bootstrap(
        owner_email=email or services.settings.owner_email,
        demo_slug=DEMO_SLUG if demo_id else None,
        demo_form_id=demo_id,
        management_key=None,
        sign_in_url=None,
    )


async def _fill(
    connection: Connection, services: Services, key: ApiKey, secret_hash: str, revision: int
) -> str:
    """The link that signs the owner in."""
    now_ms = services.clock.now_ms()
    email = services.settings.owner_email
    account_id = new_id("acc", now_ms)
    user_id = new_id("usr", now_ms)
    await store.insert_account(connection, account_id, email, services.plans.default, now_ms)
    await store.insert_owner(connection, user_id, account_id, email, now_ms)
    demo = NewForm(name="Demo", slug=DEMO_SLUG)
    await add_form(connection, account_id, demo, revision, now_ms)
    await add_key(
        connection, NewKey(account_id, "first key", key, secret_hash, created_by=user_id), now_ms
    )
    await record_by(connection, SYSTEM, account_id, "account.created", account_id, now_ms)
    return await services.sign_in.make_link_in(connection, user_id, account_id, SYSTEM, now_ms)
