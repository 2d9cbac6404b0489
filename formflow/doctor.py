"""``formflow doctor``: looks at what a process depends on; says what is wrong, what to do."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from backend.db import Database, file_of
from backend.delivery.store import counts
from backend.files import create_file_store
from backend.mail.outlet import create_relay, server_address
from backend.plans.catalogue import load_plans
from backend.schema import HEAD, Schema, current_schema
from contracts import internal
from contracts.problems import Rejected
from contracts.runtime.clock import SystemClock, iso
from contracts.runtime.settings import Settings, SettingsError
from contracts.turnstile import is_dummy_secret
from formflow.held_quota import holders
from formflow.kept_secrets import with_kept_secrets
from formflow.peer_client import peer_client
from gateway.spool.directory import numbered_spools, root_of
from gateway.spool.summary import SpoolSummary, inspect

# Looking through so many bytes of a database takes seconds.
_LARGE_BYTES = 1_000_000_000
_FREE_BYTES_MIN = 256 * 1024 * 1024
_CLOCK_SECONDS_MAX = 2.0
_TIMEOUT_SECONDS = 5.0
# A gateway that lives ends a lease that it has not used for a day.
_UNSEEN_MS = 2 * 24 * 3600 * 1000
_PROBE_KEY = "doctor/probe"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; ``advice`` says what to do about one that is not good."""

    check: str
    is_good: bool
    detail: str
    advice: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Every check in turn, each as soon as it is known."""
    yield _check_data_dir(settings)
    yield _check_secrets(settings)
    yield _check_turnstile(settings)
    for check, work in _CHECKS.items():
        if check == "database file" and (size := _database_bytes(settings)) > _LARGE_BYTES:
            yield Finding(check, True, f"looking through {size // 1_000_000} MB takes a while")
        yield await _guarded(check, work, settings)


def _check_data_dir(settings: Settings) -> Finding:
    path = settings.data_dir
    if not path.is_dir():
        return Finding("data directory", True, f"{path} does not exist yet")
    free = shutil.disk_usage(path).free
    return Finding(
        "data directory",
        free >= _FREE_BYTES_MIN,
        f"{path} has {free // 1_000_000} MB free",
        "Make room: posts are refused when the disk is full.",
    )


def _check_secrets(settings: Settings) -> Finding:
    missing = [
        name
        for name, secret, file in (
            ("FORMFLOW_INTERNAL_TOKEN", settings.internal_token, "internal-token"),
            ("FORMFLOW_SECRET_KEY", settings.secret_key, "secret-key"),
        )
        if secret is None and not (settings.data_dir / file).exists()
    ]
    return Finding(
        "secrets",
        not missing,
        f"{', '.join(missing)} not set" if missing else "set",
        "Set them, the same for every process; formflow up makes them by itself.",
    )


def _check_turnstile(settings: Settings) -> Finding:
    secret = settings.turnstile_secret
    is_dummy = secret is not None and is_dummy_secret(secret.get_secret_value())
    state = "one of Cloudflare's test secrets" if is_dummy else "set" if secret else "not set"
    return Finding(
        "Turnstile secret",
        not is_dummy,
        state,
        "FORMFLOW_TURNSTILE_SECRET protects nothing: use the secret of your own widget.",
    )


async def _check_plans(settings: Settings) -> str:
    return f"a new account has the plan {load_plans(settings).default}"


async def _check_database(settings: Settings) -> str:
    schema = await _schema(settings)
    if schema.is_newer and schema.is_usable:
        return f"schema {schema.revision}, of a newer release, which this one can work with"
    if schema.is_newer:
        raise SettingsError(
            f"the schema is at {schema.revision}, which this release, of {HEAD}, cannot work with: "
            "run the newer one"
        )
    if not schema.is_usable:
        raise SettingsError(
            f"the schema is at {schema.revision or 'none'}, not {HEAD}: formflow migrate"
        )
    return f"schema {schema.revision}"


async def _check_database_file(settings: Settings) -> str:
    database = Database(settings.sqlalchemy_url())
    try:
        await database.check()
    finally:
        await database.close()
    if not database.is_sqlite:
        return "PostgreSQL looks after its own (data_checksums)"
    return f"{_database_bytes(settings) // 1_000_000} MB, all in order"


def _database_bytes(settings: Settings) -> int:
    file = file_of(settings.sqlalchemy_url())
    return file.stat().st_size if file is not None and file.exists() else 0


async def _schema(settings: Settings) -> Schema:
    database = Database(settings.sqlalchemy_url())
    try:
        return await current_schema(database)
    finally:
        await database.close()


async def _check_leases(settings: Settings) -> str:
    if not (await _schema(settings)).is_usable:
        return "none before there is a schema"
    held = await holders(settings)
    before_ms = SystemClock().now_ms() - _UNSEEN_MS
    lost = [holding for holding in held if holding.seen_at < before_ms]
    if lost:
        raise SettingsError(
            "; ".join(
                f"{holding.holder} holds {holding.units} units of quota and was last seen at "
                f"{iso(holding.seen_at)}"
                for holding in lost
            )
        )
    return f"{len(held)} gateways hold {sum(holding.units for holding in held)} units of quota"


async def _check_outbox(settings: Settings) -> str:
    if not (await _schema(settings)).is_usable:
        return "none before there is a schema"
    database = Database(settings.sqlalchemy_url())
    try:
        async with database.read() as connection:
            backlog = await counts(connection)
    finally:
        await database.close()
    if backlog.set_aside:
        raise SettingsError(f"{backlog.set_aside} rows of the outbox could not be expanded")
    return f"{backlog.waiting} rows of the outbox wait, {backlog.pending} deliveries are pending"


async def _check_files(settings: Settings) -> str:
    async def content() -> AsyncIterator[bytes]:
        yield b"probe"

    store = create_file_store(settings)
    await store.put(_PROBE_KEY, content())
    await store.delete([_PROBE_KEY])
    return "a file was written and deleted"


async def _check_spools(settings: Settings) -> str:
    spools = numbered_spools(root_of(settings)).values()
    found = {path: await asyncio.to_thread(inspect, path) for path in spools}
    problems = [text for path in found for text in _problems_of_spool(path, found[path])]
    if problems:
        raise SettingsError("; ".join(problems))
    if settings.spool == "off":
        return "off: posts are refused while the backend is away"
    waiting = sum(spool.count for spool in found.values())
    return f"{waiting} submissions wait in {len(found)} spools"


def _problems_of_spool(path: Path, spool: SpoolSummary) -> Iterator[str]:
    if spool.problem is not None:
        yield f"{path} cannot be read: {spool.problem}"
    if spool.count and not spool.is_in_use:
        yield f"{path} holds {spool.count} submissions and no gateway drains it"
    if spool.rejected_count:
        yield (
            f"{path} holds {spool.rejected_count} submissions that the backend refused, which take "
            f"{spool.rejected_bytes // 1_000} kB of its room"
        )
    if spool.set_aside:
        names = ", ".join(each.name for each in spool.set_aside)
        yield f"{path} holds damaged files that were set aside: {names}"


async def _check_mail(settings: Settings) -> str:
    server_address(settings)
    if settings.smtp_url is None:
        return f"no SMTP server: mails are written to {settings.data_dir / 'mail'}"
    relay = create_relay(settings, SystemClock())
    try:
        await relay.check()
    finally:
        await relay.close()
    return f"{relay.url} lets us in; no mail was sent"


async def _check_redis(settings: Settings) -> str:
    if settings.rate_limit_url is None:
        return (
            "not configured: each gateway, and each worker of --workers, counts for itself; "
            "FORMFLOW_RATE_LIMIT_URL names a Redis that counts for all"
        )
    from redis.asyncio import Redis

    url = settings.rate_limit_url.replace("valkey", "redis", 1)
    async with Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS) as redis:
        await redis.execute_command("PING")  # type: ignore[no-untyped-call]
    return "answers"


async def _check_backend(settings: Settings) -> str:
    token = with_kept_secrets(settings).internal_token
    async with peer_client(settings.backend_url, _TIMEOUT_SECONDS) as client:
        answer = await client.get("/readyz")
        if token is not None:
            await _check_internal_surface(client, token.get_secret_value())
    away = abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time())  # noqa: TID251
    if away > _CLOCK_SECONDS_MAX:
        raise SettingsError(f"its clock is {away:.0f} s off this machine's: synchronise both")
    return f"answers {answer.status_code}, clocks agree"


async def _check_internal_surface(client: httpx.AsyncClient, token: str) -> None:
    """Asks as a gateway does, for no form."""
    body, headers = internal.encode_slugs([]), {"authorization": f"Bearer {token}"}
    answer = await client.post(internal.LOOKUP, content=body, headers=headers)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise SettingsError(
            "it has nothing for gateways there: its FORMFLOW_INTERNAL_TOKEN is another one, or its "
            "FORMFLOW_INTERNAL_LISTEN names another address"
        )


_CHECKS: dict[str, Callable[[Settings], Awaitable[str]]] = {
    "plans": _check_plans,
    "database": _check_database,
    "database file": _check_database_file,
    "leases": _check_leases,
    "deliveries": _check_outbox,
    "file store": _check_files,
    "spools": _check_spools,
    "rate limit store": _check_redis,
    "mail": _check_mail,
    "backend": _check_backend,
}

_ADVICE = {
    "plans": "Mend FORMFLOW_PLANS_FILE or FORMFLOW_DEFAULT_PLAN.",
    "database": "Check FORMFLOW_DATABASE_URL; formflow migrate creates the schema.",
    "database file": "Stop the backend before anything else is written to it.",
    "leases": "If such a gateway and its disk are lost: formflow leases write-off frees them.",
    "deliveries": "They are set aside; the backend's log says why. They are tried again when a "
    "backend starts, such as that of a release that mends it.",
    "file store": "Check FORMFLOW_FILES_URL and its credentials.",
    "spools": "A gateway that runs with FORMFLOW_SPOOL=on drains all spools of its directory. What "
    "was refused or set aside: formflow spool list shows it, export copies it out, retry puts it "
    "back into the queue, discard deletes it.",
    "rate limit store": "Check FORMFLOW_RATE_LIMIT_URL; until then each gateway and each worker "
    "counts for itself.",
    "mail": "Check FORMFLOW_SMTP_URL and FORMFLOW_MAIL_FROM; until then mails wait.",
    "backend": "Start it, or check FORMFLOW_BACKEND_URL.",
}


async def _guarded(
    check: str, work: Callable[[Settings], Awaitable[str]], settings: Settings
) -> Finding:
    """A check that fails is a finding, whatever library it failed in."""
    try:
        return Finding(check, True, await work(settings))
    except Rejected as rejected:
        return Finding(check, False, rejected.detail, _ADVICE[check])
    except Exception as error:
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(check, False, detail, _ADVICE[check])
