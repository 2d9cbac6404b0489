"""The command line. Errors are one line on stderr: exit 1, or 2 for a wrong use of the command."""

import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.problems import Rejected
from contracts.runtime.listening import listen
from contracts.runtime.serving import raise_descriptor_limit, run
from contracts.runtime.settings import GATEWAY_PORT, Settings, StartError, load_settings
from contracts.runtime.telemetry import configure_logging
from formflow import leases, spools
from formflow.backups import backup, restore
from formflow.commands import group
from formflow.loadtest import loadtest
from formflow.options import Config, Data
from formflow.output import print_json
from formflow.probe import probe
from formflow.resources import DESCRIBED, HELP
from formflow.sign_in import sign_in
from formflow.transfer import export_submissions, import_submissions

BACKEND_PORT = 8788

Host = Annotated[str | None, typer.Option(help="The address to listen on.")]
Port = Annotated[int | None, typer.Option(help="The port to listen on.", min=0, max=65535)]
Descriptor = Annotated[int | None, typer.Option("--fd", hidden=True)]
Supervised = Annotated[bool, typer.Option("--supervised", hidden=True)]
Worker = Annotated[int | None, typer.Option("--worker", hidden=True, min=0)]
Of = Annotated[int, typer.Option("--of", hidden=True, min=1)]
Workers = Annotated[
    int,
    typer.Option(
        help="Gateway processes on this address. Each counts rate limits for itself, unless "
        "FORMFLOW_RATE_LIMIT_URL names a Redis; /readyz and /metrics answer for the one that took "
        "the connection.",
        min=1,
        max=64,
    ),
]

app = typer.Typer(
    name="formflow",
    help="A form backend anyone can run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, described in DESCRIBED.items():
    app.add_typer(group(HELP[name], described), name=name)
app.add_typer(leases.app, name="leases")
app.add_typer(spools.app, name="spool")
app.command("export")(export_submissions)
app.command("import")(import_submissions)
app.command()(backup)
app.command()(restore)
app.command()(probe)
app.command("sign-in")(sign_in)
app.command()(loadtest)


@app.command()
def up(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON once everything answers.")
    ] = False,
) -> None:
    """Run the whole product on this machine, on one URL."""
    from formflow.up import run_up

    settings = load_settings(config, data_dir=data, host=host, port=port)
    configure_logging("formflow", settings.log_format, settings.log_level)
    listener = listen(settings.host, GATEWAY_PORT if settings.port is None else settings.port)
    run(partial(run_up, settings, listener, config=config, as_json=as_json))


@app.command()
def gateway(
    config: Config = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = 1,
    fd: Descriptor = None,
    worker: Worker = None,
    of: Of = 1,
    supervised: Supervised = False,
) -> None:
    """Run one gateway, in one or several processes."""
    settings = load_settings(config, host=host, port=port)
    if workers > 1:
        _run_workers(settings, workers, config)
        return
    from gateway.main import run_gateway

    if worker is not None:
        from formflow.workers import join

        fd = join(settings.host, settings.port or GATEWAY_PORT).detach()
    serve = partial(run_gateway, worker=worker or 0, workers=of)
    _serve("gateway", serve, settings, GATEWAY_PORT, fd, supervised)


@app.command()
def backend(
    config: Config = None,
    data: Data = None,
    host: Host = None,
    port: Port = None,
    fd: Descriptor = None,
    supervised: Supervised = False,
) -> None:
    """Run one backend."""
    from backend.main import run_backend

    settings = load_settings(config, data_dir=data, host=host, port=port)
    _serve("backend", run_backend, settings, BACKEND_PORT, fd, supervised)


@app.command()
def migrate(config: Config = None, data: Data = None) -> None:
    """Bring the database's schema to the newest version."""
    from backend.main import run_migrate

    run(partial(run_migrate, load_settings(config, data_dir=data)))
    typer.echo("The schema is up to date.")


@app.command()
def doctor(
    config: Config = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check configuration, database, storage and what else is needed."""
    from formflow.doctor import Finding, examine

    settings = load_settings(config, data_dir=data)
    configure_logging("doctor", settings.log_format, "critical")
    findings: list[Finding] = []

    async def collect() -> None:
        async for finding in examine(settings):
            findings.append(finding)
            if not as_json:
                show(finding)

    def show(finding: Finding) -> None:
        typer.echo(f"{'ok ' if finding.is_good else 'BAD'}  {finding.check}: {finding.detail}")
        if not finding.is_good:
            typer.echo(f"     {finding.advice}")

    run(collect)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if not all(finding.is_good for finding in findings):
        raise typer.Exit(1)


def _run_workers(settings: Settings, count: int, config: Path | None) -> None:
    from formflow.workers import run_workers

    configure_logging("gateway", settings.log_format, settings.log_level)
    port = GATEWAY_PORT if settings.port is None else settings.port
    run(partial(run_workers, settings, port, count=count, config=config))


def _serve(
    service: str,
    main: Callable[..., Any],
    settings: Settings,
    default_port: int,
    fd: int | None,
    supervised: bool,
) -> None:
    configure_logging(service, settings.log_format, settings.log_level)
    raise_descriptor_limit()
    port = default_port if settings.port is None else settings.port
    listener = listen(settings.host, port) if fd is None else socket.socket(fileno=fd)
    run(partial(main, settings, listener, ends_with_stdin=supervised))


def main() -> None:
    """The entry point of the ``formflow`` command."""
    try:
        app()
    except (StartError, Rejected) as error:
        sys.stderr.write(f"formflow: {error}\n")
        sys.exit(1)
