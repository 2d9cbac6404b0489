"""A PostgreSQL database, dumped and restored by PostgreSQL's own programs."""

import os
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from backend.backups.archive import BackupError

_VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}


def dump(url: str, snapshot: str, target: Path) -> None:
    """Writes what the exported ``snapshot`` sees. Blocks. Raises BackupError."""
    options = ["--format=custom", "--compress=none", "--no-owner", "--no-privileges"]
    _run("pg_dump", [*options, f"--snapshot={snapshot}", f"--file={target}"], url)


def load(url: str, source: Path) -> None:
    """Fills an empty database, all of it or nothing. Blocks. Raises BackupError."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", [*options, f"--dbname={_environment(url)['PGDATABASE']}", str(source)], url)


def _run(program: str, arguments: list[str], url: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed program, and no shell
            [program, "--no-password", *arguments],
            env=_environment(url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BackupError(
            f"a PostgreSQL database needs {program}, which is not installed: "
            "install PostgreSQL's client programs (Debian: postgresql-client)"
        ) from None
    if done.returncode != 0:
        complaint = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[0]
        raise BackupError(complaint if program in complaint else f"{program}: {complaint}")


def _environment(url: str) -> dict[str, str]:
    """As variables, because everybody on the machine can read a command's arguments."""
    parts = urlsplit(url)
    given = {
        "PGHOST": parts.hostname,
        "PGPORT": parts.port,
        "PGUSER": parts.username and unquote(parts.username),
        "PGPASSWORD": parts.password and unquote(parts.password),
        "PGDATABASE": unquote(parts.path.removeprefix("/")),
    }
    given |= {_VARIABLES[name]: text for name, text in parse_qsl(parts.query) if name in _VARIABLES}
    return dict(os.environ) | {name: str(text) for name, text in given.items() if text}
