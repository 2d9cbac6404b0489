"""``formflow up``: backend and gateway as two processes under one supervisor, on one URL.

The supervisor holds the public listening socket and lends it to the gateway, so that a gateway
that dies and is restarted refuses nobody: connections wait in the socket's queue meanwhile.
"""

import asyncio
import fcntl
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson

from contracts import internal
from contracts.runtime.endpoints import origin_at, parse_endpoint
from contracts.runtime.listening import reserved_port
from contracts.runtime.settings import Settings, SettingsError, child_environment
from contracts.runtime.telemetry import get_logger
from formflow.kept_origin import keep_origin
from formflow.kept_secrets import INTERNAL_TOKEN_FILE, SECRET_KEY_FILE
from formflow.peer_client import peer_client
from formflow.supervisor import Child, ChildFailed, Supervisor, stop_signal, unless_stopped

_READY_SECONDS = 30.0
_POLL_SECONDS = 0.02
_POLL_ANSWER_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
_LOOPBACK = "127.0.0.1"


async def run_up(
    settings: Settings, listener: socket.socket, *, config: Path | None, as_json: bool
) -> None:
    """Runs until a signal; raises SettingsError, ListenError or ChildFailed if it cannot."""
    lock = prepare_data_dir(settings.data_dir)
    try:
        with reserved_port(listener.getsockname()[1] + 1) as backend_port:
            await _run(settings, listener, backend_port, config, as_json)
    finally:
        os.close(lock)


async def _run(
    settings: Settings,
    listener: socket.socket,
    backend_port: int,
    config: Path | None,
    as_json: bool,
) -> None:
    token_file = settings.data_dir / INTERNAL_TOKEN_FILE
    token = settings.internal_token
    secret = token.get_secret_value() if token else make_secret(token_file)
    host, port = listener.getsockname()[:2]
    gateway_url = origin_at(host, port)
    url = settings.public_url or gateway_url
    keep_origin(settings.data_dir, url)
    backend_url = f"http://{_LOOPBACK}:{backend_port}"
    # The gateway finds the rest of the API there, too.
    own = settings.internal_listen
    internal_url = backend_url if own is None else parse_endpoint(own).url
    environment = child_environment(
        data_dir=str(settings.data_dir), backend_url=internal_url, drain_seconds="0", public_url=url
    )
    if token is None:
        environment["FORMFLOW_INTERNAL_TOKEN_FILE"] = str(token_file)
    if settings.secret_key is None:
        make_secret(settings.data_dir / SECRET_KEY_FILE)
        environment["FORMFLOW_SECRET_KEY_FILE"] = str(settings.data_dir / SECRET_KEY_FILE)
    command = [sys.executable, "-m", "formflow"]
    rest = ["--supervised", *(["--config", str(config)] if config else [])]
    backend = Child(
        "backend",
        [*command, "backend", "--host", _LOOPBACK, "--port", str(backend_port), *rest],
        environment,
    )
    descriptor = listener.fileno()
    gateway = Child(
        "gateway",
        [*command, "gateway", "--fd", str(descriptor), *rest],
        environment,
        descriptors=(descriptor,),
    )
    async with Supervisor([backend], [gateway]) as supervisor:
        stop = stop_signal(supervisor.kill)
        starting = _start(backend, gateway, internal_url, gateway_url, secret)
        first = await unless_stopped(stop, starting)
        if first is not None:
            announce(first, url, backend_url, settings, as_json)
            await stop.wait()
        # The socket listens until the gateway closes it.
        listener.close()
        get_logger("formflow").info("stopping")


async def _start(
    backend: Child, gateway: Child, internal_url: str, gateway_url: str, token: str
) -> dict[str, Any]:
    """Waits until both answer, and sees to the first owner. Returns what was set up."""
    async with peer_client(internal_url, _ANSWER_SECONDS) as client:
        await _wait_ready(client, backend)
        first = await _bootstrap(client, token)
    async with peer_client(gateway_url, _ANSWER_SECONDS) as client:
        await _wait_ready(client, gateway)
    return first


async def _bootstrap(client: httpx.AsyncClient, token: str) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {token}"}
    try:
        answer = await client.post(internal.BOOTSTRAP, headers=headers)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ChildFailed(f"the backend cannot make the first owner: {error}") from None
    first: dict[str, Any] = answer.json()
    return first


async def _wait_ready(client: httpx.AsyncClient, child: Child) -> None:
    await child.served()
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while True:
                if await _is_ready(client):
                    return
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise ChildFailed(f"the {child.name} is not ready after {_READY_SECONDS:.0f} s") from None


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz", timeout=_POLL_ANSWER_SECONDS)).is_success
    except httpx.TransportError:
        return False


def announce(
    first: dict[str, Any], url: str, backend_url: str, settings: Settings, as_json: bool
) -> None:
    """Says where everything is; the link to sign in with and the management key only when they
    have just been made."""
    key = first["management_key"]
    if as_json:
        document = {
            "url": url,
            "backend_url": backend_url,
            "owner_email": first["owner_email"],
            "sign_in_url": first["sign_in_url"],
            "demo_form": first["demo_slug"],
            "demo_form_id": first["demo_form_id"],
        }
        if key is not None:
            document["management_key"] = key
        sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
        sys.stdout.buffer.flush()
        return
    sys.stdout.write(_welcome(first, url, settings.data_dir, key or "YOUR_MANAGEMENT_KEY"))
    sys.stdout.flush()


def _welcome(first: dict[str, Any], url: str, data_dir: Path, key: str) -> str:
    lines = ["", f"FormFlow is running at {url}", ""]
    if first["demo_slug"] is not None:
        lines += [
            "Post to the demo form:",
            f"  curl -d email=ada@example.com -d message=Hello {url}/v1/f/{first['demo_slug']}",
            "",
            "Read what was posted:",
            f"  curl -H 'Authorization: Bearer {key}' "
            f"{url}/v1/forms/{first['demo_form_id']}/submissions",
            "",
        ]
    if first["sign_in_url"] is not None:
        lines += [f"Sign in: {first['sign_in_url']}", "  (once, and soon; later: formflow sign-in)"]
    else:
        lines += ["Sign in: formflow sign-in prints a link"]
    if first["management_key"] is not None:
        lines += [f"Management key, shown only now: {key}"]
    else:
        lines += ["Lost the management key? formflow keys create NAME --kind management"]
    lines += [f"Owner: {first['owner_email']}   Data: {data_dir}   Stop: Ctrl-C", ""]
    return "\n".join(lines) + "\n"


def prepare_data_dir(path: Path) -> int:
    """Creates the directory (mode 0700) and locks it; returns the lock's descriptor.

    Raises:
        SettingsError: it cannot be used, or another ``formflow up`` runs on it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"FORMFLOW_DATA_DIR: {path}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise SettingsError(
            f"FORMFLOW_DATA_DIR: another formflow up is running on {path}"
        ) from None
    return lock


def make_secret(path: Path) -> str:
    """The secret kept in ``path`` (mode 0600); made if there is none."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    secret = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret
