"""Real processes and a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console import Console, running_console
from tests.support.console_seeds import seed
from tests.support.processes import Product


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A running product on an empty data directory."""
    running = Product(tmp_path / "data")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; skips where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return path


@pytest.fixture(scope="module")
def console(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console that has something of everything to show."""
    with running_console(tmp_path_factory.mktemp("console"), chromium) as running:
        seed(running)
        yield running
