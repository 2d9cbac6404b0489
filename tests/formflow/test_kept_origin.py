from pathlib import Path

import pytest

from contracts.runtime.settings import SettingsError, load_settings
from formflow.kept_origin import keep_origin, with_kept_origin


def origin(data_dir: Path, public_url: str | None = None) -> str | None:
    settings = load_settings(environ={}, data_dir=data_dir, public_url=public_url)
    return with_kept_origin(settings).public_url


def test_a_command_links_to_where_the_product_is_reached(tmp_path: Path) -> None:
    assert origin(tmp_path) is None
    keep_origin(tmp_path, "http://127.0.0.1:9000")
    assert origin(tmp_path) == "http://127.0.0.1:9000"
    assert origin(tmp_path, "https://forms.example") == "https://forms.example"


def test_what_is_no_origin_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "origin").write_bytes(b"\xff somewhere")
    assert origin(tmp_path) is None
    (tmp_path / "origin").write_text("somewhere")
    assert origin(tmp_path) is None


def test_an_origin_that_cannot_be_kept_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="FORMFLOW_DATA_DIR"):
        keep_origin(tmp_path / "nowhere", "http://127.0.0.1:9000")
