"""``formflow export`` and ``formflow import``: the submissions of a form, or a whole account, out
and in."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from zoneinfo import ZoneInfo

import typer

from backend.imports.sources import SOURCES, Export
from contracts.runtime.clock import SystemClock
from formflow.batches import batches, length_of
from formflow.client import Client, CommandError, Target, with_client
from formflow.options import AsJson, Config, Data, Key, Url
from formflow.output import print_json, progress_bar, shown

SourceName = Enum("SourceName", {name: name for name in SOURCES})  # type: ignore[misc]


class Format(Enum):
    """How submissions are written."""

    csv = "csv"
    json = "json"


def export_submissions(
    form: Annotated[
        str | None, typer.Argument(help="The form's slug or id; without it the whole account.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            help="csv, as it is by default, for spreadsheets; json keeps everything but files."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write; otherwise, of a form, standard output."
        ),
    ] = None,
    status: Annotated[str | None, typer.Option(help="received, spam, held or all.")] = None,
    since: Annotated[str | None, typer.Option(help="Received at this time or later.")] = None,
    until: Annotated[str | None, typer.Option(help="Received before this time.")] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Write a form's submissions to a file, oldest first, or a whole account to an archive."""
    target = Target(url, key, config, data)
    filters = {"status": status, "since": since, "until": until}
    query = {name: value for name, value in filters.items() if value is not None}
    if form is None:
        _refuse_options({"format": format} | query, "an export of a whole account")
        _export_account(target, output)
        return
    path = f"submissions.{(format or Format.csv).value}"

    async def work(client: Client) -> None:
        form_id = await client.form_id(form)
        await _save(client.chunks(f"/v1/forms/{form_id}/{path}", query), output)

    with_client(target, work)


def import_submissions(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[FORM] FILE",
            help="The export to read, and the slug or id of the form that it is for; an account "
            "has its own forms.",
        ),
    ],
    source: Annotated[
        SourceName | None, typer.Option("--from", help="Whose export it is; otherwise guessed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be imported.")
    ] = False,
    timezone: Annotated[
        str | None, typer.Option(help="Of dates that name none: Europe/Berlin. Otherwise UTC.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(help="OLD=NEW: another slug for a form of an account; may be repeated."),
    ] = None,
    url: Url = None,
    key: Key = None,
    config: Config = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Bring another service's export into a form, with its dates, or an exported account back;
    harmless if done twice."""
    from formflow.account_archive import is_archive

    target = Target(url, key, config, data)
    if len(what) > 2:
        raise typer.BadParameter("Give a file, or a form and a file.")
    form, file = what[0], Path(what[-1])
    if is_archive(file):
        if len(what) == 2:
            raise CommandError(f"{file} is gzipped, as whole accounts are: leave {form!r} out")
        _refuse_options({"from": source, "timezone": timezone}, "an import of a whole account")
        _import_account(target, file, rename or [], dry_run, as_json)
        return
    if len(what) == 1:
        raise CommandError(f"{file} is no archive of an account: say which form it is for, too")
    _refuse_options({"rename": rename}, "an import into one form")
    chosen = source.value if source else None
    export = Export(str(file), lambda: file.open("rb"), chosen, _zone(timezone))
    # Once to the end before anything is stored: a mistake in the last line is found now.
    total = sum(1 for _ in export.submissions())

    async def work(client: Client) -> dict[str, Any]:
        path = f"/v1/forms/{await client.form_id(form)}/submissions/import"
        return await _send(client, path, export, total, dry_run)

    report = with_client(target, work)
    if as_json:
        print_json(report)
    else:
        typer.echo(_sentence(report))


def _export_account(target: Target, output: Path | None) -> None:
    from formflow.account_export import export_account

    if output is None:
        raise CommandError("say where to write the account: formflow export -o account.tar.gz")
    summary = with_client(target, lambda client: export_account(client, output, SystemClock()))
    typer.echo(f"{output}: {summary}")


def _import_account(
    target: Target, file: Path, renamed: list[str], is_dry_run: bool, as_json: bool
) -> None:
    from formflow.account_archive import check
    from formflow.account_import import AccountImport, parse_renames, sentences

    # To its end before anything is changed: a part of an account is found out now.
    contents = check(file)
    slugs = parse_renames(renamed, contents)

    async def work(client: Client) -> dict[str, Any]:
        return await AccountImport(client, file, contents, slugs, is_dry_run).run()

    report = with_client(target, work)
    if as_json:
        print_json(report)
        return
    for line in sentences(report):
        typer.echo(shown(line))


def _refuse_options(given: dict[str, Any], what: str) -> None:
    """Raises CommandError for options that make no sense here."""
    named = [f"--{name}" for name, value in given.items() if value]
    if named:
        raise CommandError(f"{', '.join(named)}: not for {what}")


async def _send(
    client: Client, path: str, export: Export, total: int, is_dry_run: bool
) -> dict[str, Any]:
    counts = {"imported": 0, "known": 0, "past_retention": 0}
    with progress_bar(is_counted=True) as bar:
        task = bar.add_task("importing", total=total)
        for batch in batches(export.submissions(), length_of):
            body = {
                "source": export.source.name,
                "submissions": batch,
                "dry_run": is_dry_run,
            }
            report = await client.call("POST", path, body=body)
            counts = {name: count + report[name] for name, count in counts.items()}
            bar.advance(task, len(batch))
    return {"source": export.source.name} | counts | {"dry_run": is_dry_run}


def _sentence(report: dict[str, Any]) -> str:
    would = "would be " if report["dry_run"] else ""
    parts = [f"{report['imported']} submissions of {report['source']} {would}imported"]
    if report["known"]:
        parts.append(f"{report['known']} were there already")
    if report["past_retention"]:
        parts.append(
            f"{report['past_retention']} are older than the form's retention_days, which "
            "removes them within a day"
        )
    return "; ".join(parts) + "."


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise CommandError(f"--timezone: there is no time zone {name!r}") from None


async def _save(chunks: AsyncIterator[bytes], output: Path | None) -> None:
    with _opened(output) as file, progress_bar(is_counted=False) as bar:
        task = bar.add_task("exporting", total=None)
        async for chunk in chunks:
            file.write(chunk)
            bar.advance(task, len(chunk))


@contextmanager
def _opened(output: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that has its name only once it is whole."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
