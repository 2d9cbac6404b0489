"""``formflow spool``: what lies in the spools of this machine's gateways and needs a hand.

Looking is possible at any time. What changes a spool needs its gateway stopped, which the lock of
the spool makes sure of: a gateway knows by heart what is in its spool.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from contracts.runtime.clock import SystemClock
from contracts.runtime.settings import Settings, load_settings
from contracts.runtime.telemetry import configure_logging
from formflow.client import CommandError
from formflow.commands import confirm
from formflow.options import AsJson, Config, Data, Yes
from formflow.output import print_json, print_table, shown

app = typer.Typer(no_args_is_help=True, help="What gateways hold on their disks, and salvage.")

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Rejected submissions, by id.")
]
All = Annotated[bool, typer.Option("--all", help="Everything that was rejected.")]

_SPOOL_COLUMNS = (
    "spool",
    "is_in_use",
    "waiting",
    "oldest_received_at",
    "rejected",
    "rejected_bytes",
    "set_aside",
)
_REJECTED_COLUMNS = ("id", "form_id", "spool", "received_at", "why", "detail")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a command is to work on, in one spool."""

    directory: Path
    ids: dict[int, str]


@app.command("list")
def list_spools(config: Config = None, data: Data = None, as_json: AsJson = False) -> None:
    """List what waits, was rejected or was set aside, whether gateways run or not."""
    from formflow.spool_contents import describe

    spools = describe(_settings(config, data))
    if as_json:
        print_json(spools)
        return
    counted = [
        spool | {"rejected": len(spool["rejected"]), "set_aside": len(spool["set_aside"])}
        for spool in spools
    ]
    print_table(counted, _SPOOL_COLUMNS)
    rejected = [row | {"spool": spool["spool"]} for spool in spools for row in spool["rejected"]]
    if rejected:
        print_table(rejected, _REJECTED_COLUMNS)
    for spool in spools:
        for name in spool["set_aside"]:
            typer.echo(shown(f"set aside: {spool['directory']}/{name}"))
        if spool["problem"]:
            typer.echo(shown(f"{spool['directory']} cannot be read: {spool['problem']}"))


@app.command("export")
def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The directory to make; otherwise named by the time."),
    ] = None,
    with_waiting: Annotated[
        bool, typer.Option("--with-waiting", help="Also what waits, which is delivered anyway.")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copy what was rejected or set aside to a directory, as JSON Lines and files."""
    from formflow.spool_contents import export_to

    now = datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)
    target = output or Path(f"formflow-spool-{now:%Y%m%dT%H%M%SZ}")
    report = export_to(target, _settings(config, data), with_waiting=with_waiting)
    if as_json:
        print_json({"directory": str(target)} | report)
        return
    typer.echo(f"{target}: {report['submissions']} submissions, {report['files']} files.")
    typer.echo("It holds personal data: keep it safe.")
    if report["unreadable"]:
        typer.echo(f"Up to {report['unreadable']} rows or files cannot be read any more.")
    for path, problem in report["unopened"].items():
        typer.echo(shown(f"{path} cannot be read: {problem}"))


@app.command("retry")
def retry(
    ids: Ids = None,
    is_all: All = False,
    set_aside: Annotated[
        bool,
        typer.Option("--set-aside", help="Also what can be read of databases that were set aside."),
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put rejected submissions back into the queue, once the cause is mended; for stopped gateways.

    A gateway delivers them when it runs again, as promised: even if the quota is used up.
    """
    from formflow.spool_repairs import opened, salvage

    settings = _settings(config, data)
    chosen = _choose(settings, ids or [], is_all, set_aside)
    retried, kept, unreadable = 0, [], 0
    with opened(settings, [each.directory for each in chosen]) as disks:
        for each, disk in zip(chosen, disks, strict=True):
            reasons = {id: disk.put_back(sequence) for sequence, id in each.ids.items()}
            kept += [{"id": id, "why": why} for id, why in reasons.items() if why is not None]
            retried += sum(why is None for why in reasons.values())
            if set_aside:
                found = salvage(disk, each.directory)
                retried, unreadable = retried + found.salvaged, unreadable + found.unreadable
    if as_json:
        print_json({"retried": retried, "kept": kept, "unreadable": unreadable})
    else:
        typer.echo(f"{retried} submissions are back in the queue: start the gateway.")
        for row in kept:
            typer.echo(shown(f"{row['id']} stays: {row['why']}"))
        if unreadable:
            typer.echo(f"Up to {unreadable} rows cannot be read any more.")
    if kept:
        raise typer.Exit(1)


@app.command("discard")
def discard(
    ids: Ids = None,
    is_all: All = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="Also the databases that were set aside.")
    ] = False,
    config: Config = None,
    data: Data = None,
    is_confirmed: Yes = False,
) -> None:
    """Delete rejected submissions for good, with their files; for stopped gateways."""
    from formflow.spool_repairs import opened, remove_set_aside

    settings = _settings(config, data)
    chosen = _choose(settings, ids or [], is_all, set_aside)
    count = sum(len(each.ids) for each in chosen)
    also = " and all that was set aside" if set_aside else ""
    with opened(settings, [each.directory for each in chosen]) as disks:
        confirm(f"Delete {count} submissions{also} for good?", is_confirmed)
        for each, disk in zip(chosen, disks, strict=True):
            disk.discard(list(each.ids))
            if set_aside:
                remove_set_aside(each.directory)
    typer.echo(f"{count} submissions{also} are deleted.")


def _settings(config: Path | None, data: Path | None) -> Settings:
    settings = load_settings(config, data_dir=data)
    configure_logging("spool", settings.log_format, "critical")
    return settings


def _choose(settings: Settings, ids: Sequence[str], is_all: bool, set_aside: bool) -> list[_Chosen]:
    """What was named, of each spool that has some of it. Raises CommandError for an id that was
    not rejected here."""
    from formflow.spool_contents import rejected_ids, spools_with_set_aside

    if not (ids or is_all or set_aside):
        raise typer.BadParameter("Give the ids of submissions, --all or --set-aside.")
    found = rejected_ids(settings)
    known = {id for rows in found.values() for id in rows.values()}
    if missing := [id for id in ids if id not in known]:
        raise CommandError(
            f"{', '.join(missing)}: not rejected here; formflow spool list shows all"
        )
    chosen = {
        directory: {sequence: id for sequence, id in rows.items() if is_all or id in ids}
        for directory, rows in found.items()
    }
    more = spools_with_set_aside(settings) if set_aside else set()
    return [
        _Chosen(directory, rows) for directory, rows in chosen.items() if rows or directory in more
    ]
