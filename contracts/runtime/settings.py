"""Every setting of both processes, read from a TOML file and the environment.

The environment wins over the file. ``FORMFLOW_<NAME>`` sets ``<name>``; ``FORMFLOW_<NAME>_FILE``
names a file that holds the value, for secrets. An unknown or bad setting is an error that names it.
"""

import os
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from contracts.runtime.endpoints import origin_at, parse_endpoint, parse_peer

PREFIX = "FORMFLOW_"
_FILE_SUFFIX = "_FILE"
_MEGABYTE = 1024 * 1024
GATEWAY_PORT = 8787
# Which product the command line speaks to: no setting of a process.
_OF_THE_COMMAND_LINE = {f"{PREFIX}URL", f"{PREFIX}KEY"}


class StartError(Exception):
    """A process cannot start, or a command not run; the message is one line that says why."""


class SettingsError(StartError):
    """The configuration cannot be used; the message names the setting."""


def _split_list(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split_list)]
Seconds = Annotated[
    tuple[Annotated[float, Field(ge=0, le=7 * 24 * 3600)], ...], BeforeValidator(_split_list)
]


def _parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    """Keeps the text that ``parse`` understands."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


PeerUrl = Annotated[str, _parsed_by(parse_peer)]
ListenAddress = Annotated[str, _parsed_by(parse_endpoint)]


class Settings(BaseModel):
    """The settings, validated; their descriptions make the table of ``docs/settings.md``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Field(
        Path("formflow-data"), description="Where the database and the generated secrets are kept."
    )
    database_url: str = Field(
        "",
        pattern=r"^$|^sqlite:///.+|^postgresql://.+",
        description="`sqlite:///path` or `postgresql://…`; SQLite in the data directory if empty.",
    )
    backend_url: PeerUrl = Field(
        "http://127.0.0.1:8788",
        description="Where gateways find the backend: `http://host:port`, `https://…`, or "
        "`unix:/path` of its socket.",
    )
    internal_listen: ListenAddress | None = Field(
        None,
        description="Where the backend serves its internal surface (`/internal/v1/…`), and there "
        "only: `host:port` or `unix:/path`. Gateways then find it there, with the rest of the "
        "API. By default it is served on the one port.",
    )
    internal_token: SecretStr | None = Field(
        None,
        description="The secret that gateway and backend share; at least 16 characters.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int | None = Field(
        None, ge=0, le=65535, description="The port to listen on: 8787, a lone backend 8788."
    )
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]+$",
        description="The origin that clients use, where it differs from host and port.",
    )
    gateway_passthrough: bool = Field(
        True, description="Whether a gateway passes every path that is not its own to the backend."
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks (CIDR, comma-separated) whose forwarding headers are believed.",
    )
    client_ip_header: str | None = Field(
        None,
        description="The one header that trusted proxies tell the client's address in, such as "
        "`CF-Connecting-IP`; by default `X-Forwarded-For`, or `Forwarded` where that is not sent. "
        "Name it where a proxy sets another than the first: what a proxy lets through is the "
        "client's word.",
    )
    files_url: str = Field(
        "",
        pattern=r"^$|^file:///.+|^s3://[^/]+(/.*)?$",
        description="Where files are kept: `s3://bucket/prefix`; a local directory, by default "
        "`files` in the data directory.",
    )
    rate_limit_url: str | None = Field(
        None,
        pattern=r"^(rediss?|valkeys?)://.+",
        description="Redis or Valkey, for one rate limit over all gateways; by default each "
        "gateway counts in its memory.",
    )
    rate_limit_visitors: int = Field(
        200_000, ge=1_000, description="Visitors whose rate a gateway counts one by one."
    )
    key_mints_per_hour: int = Field(
        10, ge=1, description="API keys that an account may create or rotate in an hour."
    )
    api_anonymous_per_minute: int = Field(
        300, ge=1, description="Calls of the API a minute from one address without a credential."
    )
    turnstile_site_key: str | None = Field(
        None, description="The Turnstile site key of forms that name none."
    )
    turnstile_secret: SecretStr | None = Field(
        None, description="The Turnstile secret of forms that name none."
    )
    turnstile_verify_url: str = Field(
        "https://challenges.cloudflare.com/turnstile/v0/siteverify",
        pattern=r"^https?://.+",
        description="Where Turnstile tokens are verified.",
    )
    default_plan: str = Field("selfhost", description="The plan of a new account.")
    plans_file: Path | None = Field(
        None, description="A TOML file of plans, instead of the built-in ones."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Encrypts what must be recoverable, such as Turnstile secrets; at least 16 "
        "characters. `formflow up` makes one.",
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="The server that mails go out by: `smtp://user:password@host:587` (STARTTLS "
        "where it is offered; always or never with `?starttls=require` or `off`) or "
        "`smtps://…:465`. Without one they are written to `mail` in the data directory.",
    )
    mail_from: str = Field(
        "FormFlow <formflow@localhost>", description="Who mails are from, unless a form says."
    )
    webhook_allow_http: bool = Field(
        False, description="Whether webhooks may go to `http://` addresses."
    )
    webhook_allow_cidrs: Networks = Field(
        (),
        description="Networks (CIDR, comma-separated) that webhooks may go to though they are "
        "private, such as `10.1.0.0/16`; with any, names of a local network may be given too.",
    )
    delivery_retry_seconds: Seconds = Field(
        (1.0, 10.0, 60.0, 600.0, 3600.0),
        min_length=1,
        description="Pauses before the second attempt of a delivery, the third, and so on; the "
        "last one goes for all that follow.",
    )
    delivery_attempts: int = Field(
        5, ge=1, le=20, description="Attempts of a delivery before it has failed."
    )
    staging_dir: Path | None = Field(
        None,
        description="Where a gateway stages files while they arrive; by default `staging` in the "
        "data directory.",
    )
    spool: Literal["on", "off"] = Field(
        "on",
        description="Whether a gateway keeps submissions on its disk while the backend is away; if "
        "`off`, they are refused meanwhile.",
    )
    spool_dir: Path | None = Field(
        None,
        description="Where a gateway keeps them; by default `spool` in the data directory.",
    )
    spool_max_mb: int = Field(
        2048,
        ge=1,
        description="Megabytes (2^20 bytes) a gateway's spool may hold, with files and what was "
        "rejected.",
    )
    spool_min_free_mb: int = Field(
        256, ge=0, description="Megabytes of its disk that the spool leaves free."
    )
    problem_base: str = Field(
        "https://formflow.cc/problems", description="The prefix of every problem's `type`."
    )
    owner_email: str = Field(
        "owner@localhost", pattern=r"^[^@\s]+@[^@\s]+$", description="The first owner's address."
    )
    sign_up: Literal["closed", "open"] = Field(
        "closed",
        description="`open` lets everybody make an account of their own: a link to sign in is sent "
        "to addresses that are not a member's, too.",
    )
    oidc_issuer: str = Field(
        "",
        pattern=r"^$|^https://[^/?#@]+(/[^?#]*)?$"
        r"|^http://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?(/[^?#]*)?$",
        description="The OpenID Connect provider that members may sign in at, exactly as it names "
        "itself: `https://id.example.com`. `http` on this machine only.",
    )
    oidc_client_id: str | None = Field(
        None, description="What the provider calls this server; needed with an issuer."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="The secret that the provider gave it; none for a public client."
    )
    oidc_scopes: str = Field(
        "openid email profile offline_access",
        pattern=r"^openid( [\x21\x23-\x5b\x5d-\x7e]+)*$",
        description="What is asked for there. `offline_access` makes sessions end with the "
        "provider's; it is left out where the provider does not know it.",
    )
    oidc_name: str = Field(
        "single sign-on", max_length=60, description="What the button calls the provider."
    )
    max_fields: int = Field(200, ge=1, description="Fields a post may have.")
    max_name_bytes: int = Field(256, ge=1, description="Bytes of a field's name.")
    max_value_bytes: int = Field(65_536, ge=1, description="Bytes of a field's value.")
    max_body_bytes: int = Field(1_048_576, ge=1, description="Bytes of text in a post's body.")
    max_files: int = Field(10, ge=0, le=100, description="Files a post may have.")
    max_json_depth: int = Field(32, ge=1, le=256, description="Nesting of a JSON body.")
    audit_retention_days: int = Field(
        400, ge=30, le=3_650, description="Days for which events stay in the audit log."
    )
    drain_seconds: float = Field(
        3.0,
        ge=0,
        le=20,
        description="How long a process that was told to stop keeps serving after `/readyz` "
        "says so. `formflow up` does not wait.",
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="`json`, `console`, or `auto`: readable on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least serious log lines that are written."
    )

    @property
    def spool_bytes_max(self) -> int:
        """Bytes a gateway's spool may hold."""
        return self.spool_max_mb * _MEGABYTE

    @property
    def spool_free_bytes_min(self) -> int:
        """Bytes of its disk that the spool leaves free."""
        return self.spool_min_free_mb * _MEGABYTE

    def sqlalchemy_url(self) -> str:
        """The database URL with its asynchronous driver."""
        url = self.database_url or f"sqlite:///{self.data_dir / 'formflow.db'}"
        return url.replace("sqlite://", "sqlite+aiosqlite://", 1).replace(
            "postgresql://", "postgresql+asyncpg://", 1
        )

    def public_origin(self) -> str:
        """The origin that clients use; if nothing says it, the one of a gateway on this machine."""
        if self.public_url is not None:
            return self.public_url
        return origin_at(self.host, GATEWAY_PORT if self.port is None else self.port)

    def required_internal_token(self) -> str:
        """The internal token. Raises SettingsError if it is missing or too short to be a secret."""
        token = self.internal_token.get_secret_value() if self.internal_token else ""
        if len(token) < 16:
            raise SettingsError(
                f"{PREFIX}INTERNAL_TOKEN must be set to a secret of at least 16 characters, "
                "the same for every gateway and backend"
            )
        return token


def load_settings(
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Settings:
    """The settings from ``config`` (TOML), then the environment, then ``overrides`` (not None).

    Raises:
        SettingsError: naming the first unknown or bad setting.
    """
    environ = os.environ if environ is None else environ
    values = _read_toml(config) if config else {}
    values |= _read_environment(environ)
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_first_complaint(error)) from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--config {path}: {error}") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in _OF_THE_COMMAND_LINE:
            continue
        name = variable.removeprefix(PREFIX)
        if name.endswith(_FILE_SUFFIX) and name.lower() not in Settings.model_fields:
            name = name.removesuffix(_FILE_SUFFIX)
            value = _read_secret(variable, value)
        values[name.lower()] = value
    return values


def _read_secret(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable}: {error}") from None


def _first_complaint(error: ValidationError) -> str:
    complaint = error.errors(include_url=False, include_input=False)[0]
    name = f"{PREFIX}{str(complaint['loc'][0]).upper()}"
    if complaint["type"] == "extra_forbidden":
        return f"{name}: there is no such setting (docs/settings.md lists them)"
    return f"{name}: {complaint['msg'].removeprefix('Value error, ')}"


def settings_table() -> str:
    """The reference table, as Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _shown(field.default)
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _shown(default: Any) -> str:
    if default in (None, "", ()):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(f'{part:g}' for part in default)}`"
    return f"`{default}`"


def child_environment(**values: str) -> dict[str, str]:
    """This process's environment with some settings set, for a child process."""
    return dict(os.environ) | {f"{PREFIX}{name.upper()}": value for name, value in values.items()}
