from pathlib import Path

import pytest
from pydantic import SecretStr

from contracts.runtime.settings import SettingsError, load_settings
from formflow.kept_secrets import with_kept_secrets


def test_what_is_set_wins_over_what_is_kept(tmp_path: Path) -> None:
    (tmp_path / "internal-token").write_text("a token that is kept\n")
    (tmp_path / "secret-key").write_text("a key that is kept")
    environ = {"FORMFLOW_SECRET_KEY": "a key that is set"}
    settings = with_kept_secrets(load_settings(environ=environ, data_dir=tmp_path))
    assert settings.internal_token == SecretStr("a token that is kept")
    assert settings.secret_key == SecretStr("a key that is set")


def test_without_kept_secrets_there_are_none(tmp_path: Path) -> None:
    settings = with_kept_secrets(load_settings(environ={}, data_dir=tmp_path / "nowhere"))
    assert (settings.internal_token, settings.secret_key) == (None, None)


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret-key").mkdir()
    with pytest.raises(SettingsError, match="secret-key"):
        with_kept_secrets(load_settings(environ={}, data_dir=tmp_path))
