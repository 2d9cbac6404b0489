"""The secrets that ``formflow up`` makes and keeps in the data directory."""

from pathlib import Path
from typing import Any

from pydantic import SecretStr

from contracts.runtime.settings import Settings, SettingsError

INTERNAL_TOKEN_FILE = "internal-token"  # noqa: S105 -- a file's name
SECRET_KEY_FILE = "secret-key"  # noqa: S105 -- a file's name


def with_kept_secrets(settings: Settings) -> Settings:
    """The settings with those of these secrets that they lack and the data directory has: a command
    beside the running product then seals and signs as the product does. Raises SettingsError."""
    kept: dict[str, Any] = {}
    if settings.internal_token is None:
        kept["internal_token"] = _read(settings.data_dir / INTERNAL_TOKEN_FILE)
    if settings.secret_key is None:
        kept["secret_key"] = _read(settings.data_dir / SECRET_KEY_FILE)
    return settings.model_copy(update=kept)


def _read(path: Path) -> SecretStr | None:
    try:
        return SecretStr(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(f"FORMFLOW_DATA_DIR: {path}: {error}") from None
