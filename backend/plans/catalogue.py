"""The plans of this installation, read once at the start."""

import tomllib
from collections.abc import ItemsView
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contracts.runtime.settings import Settings, SettingsError

_MEGABYTE = 1024 * 1024
_Limit = Annotated[int, Field(ge=0)] | None


class Plan(BaseModel):
    """What an account may use; None is unlimited.

    ``title`` is the plan's name for people, ``keys`` counts active API keys, ``retention_days`` is
    the longest that a form may keep its submissions, ``members`` counts invited people, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = ""
    submissions_per_month: _Limit = None
    file_megabytes: int = Field(ge=0)
    keys: _Limit = None
    requests_per_minute: int = Field(ge=1)
    retention_days: Annotated[int, Field(ge=1)] | None = None
    members: Annotated[int, Field(ge=1)] | None = None

    @property
    def file_bytes(self) -> int:
        """The limit of one file; 0 for no uploads."""
        return self.file_megabytes * _MEGABYTE


class Plans:
    """Plans by name. An account whose plan is no longer listed has the default one."""

    def __init__(self, plans: dict[str, Plan], default: str) -> None:
        self._plans = plans
        self.default = default

    def __contains__(self, name: str) -> bool:
        return name in self._plans

    def items(self) -> ItemsView[str, Plan]:
        """Every plan with its name, in the order of the file."""
        return self._plans.items()

    def get(self, name: str) -> Plan:
        """The plan of that name."""
        return self._plans.get(name) or self._plans[self.default]


def load_plans(settings: Settings) -> Plans:
    """The built-in plans, or those of the operator's file. Raises SettingsError."""
    source = settings.plans_file
    text = _read(source) if source else (files("backend.plans") / "plans.toml").read_text()
    try:
        plans = TypeAdapter(dict[str, Plan]).validate_python(tomllib.loads(text))
    except (ValueError, ValidationError) as error:
        raise SettingsError(f"FORMFLOW_PLANS_FILE: {_first_line(error)}") from None
    if settings.default_plan not in plans:
        raise SettingsError(
            f"FORMFLOW_DEFAULT_PLAN: there is no plan {settings.default_plan}; "
            f"there are {', '.join(plans)}"
        )
    return Plans(plans, settings.default_plan)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"FORMFLOW_PLANS_FILE: {error}") from None


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        complaint = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, complaint['loc']))}: {complaint['msg']}"
    return str(error).splitlines()[0]
