"""Configuration: a wrong setting is one line that names it."""

from pathlib import Path
from typing import Any

import pytest

from contracts.runtime.settings import Settings, SettingsError, load_settings, settings_table


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"FORMFLOW_PROT": "80"}, "FORMFLOW_PROT: there is no such setting"),
        ({"FORMFLOW_PORT": "http"}, "FORMFLOW_PORT: "),
        ({"FORMFLOW_PORT": "70000"}, "FORMFLOW_PORT: "),
        ({"FORMFLOW_DATABASE_URL": "mysql://x"}, "FORMFLOW_DATABASE_URL: "),
        ({"FORMFLOW_TRUSTED_PROXIES": "10.0.0.0/8,nonsense"}, "FORMFLOW_TRUSTED_PROXIES: "),
        ({"FORMFLOW_INTERNAL_TOKEN_FILE": "/nowhere/at/all"}, "FORMFLOW_INTERNAL_TOKEN_FILE: "),
        ({"FORMFLOW_BACKEND_URL": "backend:8788"}, "FORMFLOW_BACKEND_URL: must be http://host"),
        ({"FORMFLOW_BACKEND_URL": "http://backend/v1"}, "FORMFLOW_BACKEND_URL: must be http://"),
        ({"FORMFLOW_BACKEND_URL": "unix:run/b.sock"}, "FORMFLOW_BACKEND_URL: must be .*unix:/"),
        ({"FORMFLOW_BACKEND_URL": "unix://host/b.sock"}, "FORMFLOW_BACKEND_URL: must be .*unix:/"),
        ({"FORMFLOW_BACKEND_URL": f"unix:/{'é' * 60}"}, "FORMFLOW_BACKEND_URL: .* 103 .* has 121"),
        ({"FORMFLOW_INTERNAL_LISTEN": "8789"}, "FORMFLOW_INTERNAL_LISTEN: must be host:port"),
        ({"FORMFLOW_INTERNAL_LISTEN": "::1:8789"}, "FORMFLOW_INTERNAL_LISTEN: must be host:port"),
        ({"FORMFLOW_INTERNAL_LISTEN": "here:0"}, "FORMFLOW_INTERNAL_LISTEN: must be host:port"),
        ({"FORMFLOW_INTERNAL_LISTEN": "here:65536"}, "FORMFLOW_INTERNAL_LISTEN: must be host:port"),
        ({"FORMFLOW_INTERNAL_LISTEN": f"unix:/{'x' * 103}"}, "FORMFLOW_INTERNAL_LISTEN: .* 104"),
    ],
)
def test_a_bad_setting_is_named(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint) as raised:
        load_settings(environ=environ)
    assert "\n" not in str(raised.value)


def test_the_environment_wins_over_the_file_and_arguments_over_both(tmp_path: Path) -> None:
    config = tmp_path / "formflow.toml"
    config.write_text('port = 1\nhost = "::1"\nlog_level = "error"\n')
    settings = load_settings(config, {"FORMFLOW_PORT": "2", "FORMFLOW_HOST": "::2"}, host="::3")
    assert (settings.log_level, settings.port, settings.host) == ("error", 2, "::3")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    config = tmp_path / "formflow.toml"
    config.write_text("port 1")
    with pytest.raises(SettingsError, match="formflow.toml"):
        load_settings(config, {})


def test_a_secret_is_read_from_a_file_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-very-secret-token\n")
    settings = load_settings(environ={"FORMFLOW_INTERNAL_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.required_internal_token() == "a-very-secret-token"
    assert "a-very-secret-token" not in repr(settings)


@pytest.mark.parametrize("token", [None, "", "short"])
def test_a_missing_internal_token_is_refused(token: str | None) -> None:
    with pytest.raises(SettingsError, match="FORMFLOW_INTERNAL_TOKEN"):
        load_settings(environ={}, internal_token=token).required_internal_token()


def test_database_urls_name_their_driver() -> None:
    postgres = load_settings(environ={"FORMFLOW_DATABASE_URL": "postgresql://u@h/d"})
    assert postgres.sqlalchemy_url() == "postgresql+asyncpg://u@h/d"
    sqlite = load_settings(environ={"FORMFLOW_DATA_DIR": "/d"})
    assert sqlite.sqlalchemy_url() == "sqlite+aiosqlite:////d/formflow.db"


def test_every_setting_is_in_the_documented_table() -> None:
    documented = Path("docs/settings.md").read_text()
    assert settings_table() in documented
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("settings", "origin"),
    [
        ({}, "http://127.0.0.1:8787"),
        ({"host": "0.0.0.0", "port": 9000}, "http://127.0.0.1:9000"),
        ({"host": "::", "port": 9000}, "http://[::1]:9000"),
        ({"host": "10.0.0.1"}, "http://10.0.0.1:8787"),
        ({"host": "10.0.0.1", "public_url": "https://forms.example"}, "https://forms.example"),
    ],
)
def test_links_lead_to_the_public_origin(settings: dict[str, Any], origin: str) -> None:
    assert load_settings(environ={}, **settings).public_origin() == origin
