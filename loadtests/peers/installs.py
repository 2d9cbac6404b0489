"""The pinned packages of the peers, in directories of their own that git ignores.

An install is current as long as its lock file is the one that it was made from.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_INSTALLED = _HERE / ".installed"
_HINT = "python -m loadtests.peers install"
FASTAPI_APP = _HERE / "fastapi_app"
FASTIFY_APP = _HERE / "fastify"
FASTAPI_PYTHON = _INSTALLED / "fastapi" / "bin" / "python"


class InstallFailed(Exception):
    """Packages could not be installed; the message is what the installer said."""


@dataclass(frozen=True)
class _Install:
    """Packages as a lock file names them."""

    name: str
    lock: Path
    commands: tuple[tuple[str, ...], ...]

    @property
    def is_current(self) -> bool:
        """Whether exactly these packages are installed."""
        return self._made_from.exists() and self._made_from.read_bytes() == self.lock.read_bytes()

    def make(self) -> None:
        """Runs the commands. Raises InstallFailed."""
        for command in self.commands:
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except FileNotFoundError as error:
                raise InstallFailed(f"{self.name}: no {command[0]} on this machine") from error
            except subprocess.CalledProcessError as error:
                raise InstallFailed(f"{self.name}: {error.stdout}{error.stderr}") from error
        shutil.copyfile(self.lock, self._made_from)

    @property
    def _made_from(self) -> Path:
        return _INSTALLED / f"{self.name}.lock"


_FASTAPI = _Install(
    "fastapi",
    FASTAPI_APP / "requirements.lock",
    (
        (sys.executable, "-m", "venv", "--clear", str(_INSTALLED / "fastapi")),
        (str(FASTAPI_PYTHON), "-m", "pip", "install", "--disable-pip-version-check")
        + ("--require-hashes", "--no-deps", "-r", str(FASTAPI_APP / "requirements.lock")),
    ),
)
_FASTIFY = _Install(
    "fastify",
    FASTIFY_APP / "package-lock.json",
    (("npm", "ci", "--prefix", str(FASTIFY_APP), "--no-audit", "--no-fund"),),
)


def install() -> None:
    """Installs what is not current: a venv for FastAPI, node_modules for Fastify.

    Raises:
        InstallFailed: npm is missing, or an installer failed.
    """
    _INSTALLED.mkdir(exist_ok=True)
    for packages in (_FASTAPI, _FASTIFY):
        if not packages.is_current:
            packages.make()


def why_no_nginx() -> str | None:
    """One line if nginx is missing."""
    return None if find_nginx() else "nginx is missing (Debian: apt-get install nginx-light)"


def why_no_fastapi() -> str | None:
    """One line if FastAPI and what comes with it is missing."""
    return None if _FASTAPI.is_current else f"its Python packages are not installed ({_HINT})"


def why_no_fastify() -> str | None:
    """One line if Node, or Fastify and what comes with it, is missing."""
    if shutil.which("node") is None:
        return "Node is missing (Debian: apt-get install nodejs npm)"
    return None if _FASTIFY.is_current else f"its Node packages are not installed ({_HINT})"


def find_nginx() -> str | None:
    """The path of nginx, which Debian puts where only root's PATH leads."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
