"""Where the product of a data directory is reached, for links that a command beside it makes."""

from pathlib import Path

from contracts.origins import normalise_origin
from contracts.runtime.settings import Settings, SettingsError

_ORIGIN_FILE = "origin"


def keep_origin(data_dir: Path, origin: str) -> None:
    """Notes the origin. Raises SettingsError."""
    path = data_dir / _ORIGIN_FILE
    try:
        path.write_text(f"{origin}\n", encoding="ascii")
    except (OSError, ValueError) as error:
        raise SettingsError(f"FORMFLOW_DATA_DIR: {path}: {error}") from None


def with_kept_origin(settings: Settings) -> Settings:
    """The settings with the origin that ``formflow up`` had on this data directory when it ran
    last, if they name none."""
    if settings.public_url is not None:
        return settings
    try:
        kept = (settings.data_dir / _ORIGIN_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return settings
    # Whatever else the file may hold is no reason to fail: the usual origin serves, too.
    origin = normalise_origin(kept)
    return settings if origin is None else settings.model_copy(update={"public_url": origin})
