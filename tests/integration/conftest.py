"""Real processes and a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Product


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """A running product on an empty data directory."""
    running = Product(tmp_path / "data")
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def chromium() -> str:
    """The path of a Chromium; skips where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return path
