"""Makes a command of each description of one: what it takes, what it calls, what it prints."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from formflow.client import Client, CommandError, Target, with_client
from formflow.options import AsJson, Config, Data, Key, Url, Yes
from formflow.output import print_json, print_record, print_table, shown

LISTED = 50


@dataclass(frozen=True, slots=True)
class Given:
    """Something that whoever calls a command gives: an argument, or an option.

    It goes into the path where the path names it, else into the body of a POST or PATCH or the
    query of a GET, as ``member``. ``read`` turns what was typed into what is sent.
    """

    name: str
    help: str
    type: Any = str
    member: str = ""
    is_argument: bool = False
    read: Callable[[Any], Any] = lambda value: value

    @property
    def sent_as(self) -> str:
        """The name that the API has for it."""
        return self.member or self.name


@dataclass(frozen=True, slots=True)
class Command:
    """One command, which is one call of the management API.

    ``columns`` are what a list shows of its items, of which it gets ``limit`` at most unless told
    otherwise, page by page if the API gives it so. ``prints`` is the member of the answer that is
    printed alone; without either the whole answer is shown. ``asks`` is asked before something
    that cannot be undone, and ``says`` is printed after it; both may name what was given.
    ``always`` is what the request says unless something else was given.
    """

    name: str
    method: str
    path: str
    help: str
    takes: Sequence[Given] = ()
    columns: Sequence[str] = ()
    limit: int | None = None
    is_paged: bool = True
    prints: str | None = None
    asks: str | None = None
    says: str | None = None
    always: tuple[tuple[str, Any], ...] = ()

    @property
    def has_body(self) -> bool:
        """Whether what is given goes into a body."""
        return self.method in ("POST", "PATCH")

    def in_path(self, given: Given) -> bool:
        """Whether something that is given is part of the path."""
        return f"{{{given.name}}}" in self.path


def argument(name: str, help: str, **more: Any) -> Given:
    """Something without which a command makes no sense."""
    return Given(name, help, is_argument=True, **more)


def texts(value: str) -> list[str]:
    """A list, typed with commas between; empty if nothing was."""
    return [part.strip() for part in value.split(",") if part.strip()]


def text_or_null(value: str) -> str | None:
    """A text; typing an empty one clears the member."""
    return value or None


def json_or_file(value: str) -> Any:
    """JSON as it was typed, or that of the file behind an ``@``. Raises CommandError."""
    try:
        return orjson.loads(
            Path(value[1:]).read_bytes() if value.startswith("@") else value.encode()
        )
    except (OSError, ValueError) as error:
        raise CommandError(f"this is no JSON: {error}") from None


def content_of(path: Path) -> str:
    """The text of a file, for what must not stand in a command line. Raises CommandError."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from None


def group(help: str, commands: Sequence[Command]) -> typer.Typer:
    """The commands on one resource."""
    app = typer.Typer(no_args_is_help=True, help=help)
    for command in commands:
        app.command(command.name, help=command.help)(_function(command))
    return app


def confirm(question: str, is_confirmed: bool) -> None:
    """Asks, unless that is settled. Raises CommandError where the answer is not yes, or nobody is
    there to give one."""
    if is_confirmed:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Say --yes to do it without being asked")
    if not typer.confirm(question):
        raise CommandError("nothing was done")


def _function(command: Command) -> Callable[..., None]:
    """The function whose signature typer makes the command line of."""

    def run(
        url: str | None,
        key: str | None,
        config: Path | None,
        data: Path | None,
        as_json: bool = False,
        is_confirmed: bool = False,
        limit: int | None = None,
        **values: Any,
    ) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        if command.asks is not None:
            confirm(_named(command.asks, given), is_confirmed)
        answer = with_client(
            Target(url, key, config, data), lambda client: _perform(command, client, given, limit)
        )
        _show(command, answer, given, as_json)

    parameters = [*map(_parameter, command.takes), *_common(command)]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010 -- mypy knows no such attribute
    return run


def _named(sentence: str, given: dict[str, Any]) -> str:
    """The sentence with the names of what was given."""
    return sentence.format_map({name: shown(value) for name, value in given.items()})


def _parameter(given: Given) -> inspect.Parameter:
    option = "--" + given.name.replace("_", "-")
    flag = f"{option}/--no-{option[2:]}" if given.type is bool else option
    return _keyword(
        given.name,
        Annotated[given.type, typer.Argument(help=given.help)]
        if given.is_argument
        else Annotated[given.type | None, typer.Option(flag, help=given.help)],
        inspect.Parameter.empty if given.is_argument else None,
    )


def _common(command: Command) -> list[inspect.Parameter]:
    """What every command takes, or those of its sort."""
    common = [
        _keyword("url", Url, None),
        _keyword("key", Key, None),
        _keyword("config", Config, None),
        _keyword("data", Data, None),
    ]
    if command.says is None:
        common.append(_keyword("as_json", AsJson, False))
    if command.asks is not None:
        common.append(_keyword("is_confirmed", Yes, False))
    if command.columns and command.is_paged:
        help = "How many at most." if command.limit else "How many at most; otherwise all."
        limit = Annotated[int | None, typer.Option(help=help, min=1)]
        common.append(_keyword("limit", limit, command.limit))
    return common


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


async def _perform(
    command: Command, client: Client, given: dict[str, Any], limit: int | None
) -> Any:
    members = dict(command.always)
    places: dict[str, str] = {}
    for taken in command.takes:
        if taken.name not in given:
            continue
        value = taken.read(given[taken.name])
        if taken.name == "form":
            value = await client.form_id(value)
        if command.in_path(taken):
            places[taken.name] = quote(value, safe="")
        else:
            members[taken.sent_as] = value
    path = command.path.format_map(places)
    if command.columns and command.is_paged:
        return await client.all(path, members, limit)
    if command.has_body:
        return await client.call(command.method, path, body=members)
    answer = await client.call(command.method, path, query=members)
    return answer["data"] if command.columns else answer


def _show(command: Command, answer: Any, given: dict[str, Any], as_json: bool) -> None:
    if command.says is not None:
        typer.echo(_named(command.says, given))
    elif as_json:
        print_json(answer)
    elif command.columns:
        print_table(answer, command.columns)
    elif command.prints is not None:
        typer.echo(answer[command.prints])
    else:
        print_record(answer)
