"""``formflow backup`` and ``formflow restore``."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from contracts.runtime.clock import SystemClock, iso
from contracts.runtime.settings import Settings, load_settings
from formflow.options import AsJson, Config, Data
from formflow.output import print_json, progress_bar


def backup(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The archive to make; otherwise named by the time."),
    ] = None,
    with_bucket: Annotated[
        bool, typer.Option("--with-bucket", help="Copy files that are in a bucket, too.")
    ] = False,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Copy database, uploaded files and secrets to one archive, whether the product runs or not."""
    from backend.backups.backup import back_up

    settings, clock = load_settings(config, data_dir=data), SystemClock()
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    target = output or Path(f"formflow-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    with progress_bar(is_counted=True) as bar:
        making = back_up(settings, target, clock, _Shown(bar), with_bucket=with_bucket)
        manifest = asyncio.run(making)
    waiting = _waiting(settings)
    if as_json:
        print_json({"archive": str(target), "waiting_in_spools": waiting} | asdict(manifest))
        return
    typer.echo(
        f"{target}: {manifest.forms} forms, {manifest.submissions} submissions, {manifest.files} "
        f"files, as of {iso(manifest.created_at)}."
    )
    typer.echo("It holds personal data, hashes of keys and the server's secrets: keep it safe.")
    if manifest.files_at:
        typer.echo(f"The files stay in {manifest.files_at}; --with-bucket copies them.")
    if manifest.missing_files:
        typer.echo(f"{manifest.missing_files} files were deleted meanwhile and are not in it.")
    if waiting:
        typer.echo(f"{waiting} submissions wait in spools of gateways and are not in it.")


def restore(
    archive: Annotated[Path, typer.Argument(help="What formflow backup made.")],
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a data directory of a backup; there must be none yet."""
    from backend.backups.restore import restore as restored_from

    settings = load_settings(config, data_dir=data)
    with progress_bar(is_counted=True) as bar:
        restored = asyncio.run(restored_from(settings, archive, _Shown(bar)))
    manifest = restored.manifest
    age_ms = SystemClock().now_ms() - manifest.created_at
    if as_json:
        print_json(
            {"data_dir": str(settings.data_dir), "age_ms": age_ms, "new_epoch": restored.epoch}
            | {"held": [asdict(holding) for holding in restored.held]}
            | asdict(manifest)
        )
        return
    typer.echo(
        f"{settings.data_dir}: {manifest.forms} forms, {manifest.submissions} submissions, "
        f"{manifest.files} files."
    )
    typer.echo(
        f"The backup is {timedelta(seconds=age_ms // 1000)} old: what was acknowledged after "
        f"{iso(manifest.created_at)} is not in it, and nothing else is lost."
    )
    if manifest.files_at:
        typer.echo(f"The files are in {manifest.files_at}: set FORMFLOW_FILES_URL to it.")
    if missing := {"secret-key", "internal-token"} - set(manifest.secrets):
        typer.echo(f"The server had these secrets from elsewhere: {', '.join(sorted(missing))}.")
    for holding in restored.held:
        typer.echo(
            f"The gateway {holding.holder} held {holding.units} units of quota. If it is lost: "
            f"formflow leases write-off {holding.holder}"
        )


class _Shown:
    """Shows what is under way, each stage with a bar of its own."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bar.add_task(stage)
        self._bar.update(self._tasks[stage], completed=done, total=total)


def _waiting(settings: Settings) -> int:
    """Submissions that this machine's gateways have acknowledged and not brought over yet."""
    from gateway.spool.directory import numbered_spools, root_of
    from gateway.spool.summary import inspect

    return sum(inspect(path).count for path in numbered_spools(root_of(settings)).values())
