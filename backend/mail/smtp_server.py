"""The SMTP server that mails go out by, as ``FORMFLOW_SMTP_URL`` names it."""

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import parse_qsl, unquote, urlsplit

from contracts.runtime.settings import SettingsError

_PORTS = {"smtp": 587, "smtps": 465}
_SHAPE = "smtp://user:password@host:587 or smtps://user:password@host:465"


class StartTls(Enum):
    """When a connection that begins in clear is encrypted."""

    OFFERED = "offered"
    REQUIRE = "require"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where it is, and who we are there; encrypted from the start if ``is_tls``."""

    host: str
    port: int
    is_tls: bool = False
    starttls: StartTls = StartTls.OFFERED
    user: str | None = None
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Its address, without what must not be shown."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'smtps' if self.is_tls else 'smtp'}://{host}:{self.port}"


def parse_smtp_url(text: str) -> SmtpServer:
    """The server of a URL; user and password may be percent-encoded.

    Raises:
        SettingsError: saying what is wrong, and nothing of the URL: it has a password in it.
    """
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise _error("the host or the port is malformed") from None
    if url.scheme not in _PORTS or not host or port == 0:
        raise _error(f"give {_SHAPE}")
    if url.path not in ("", "/") or url.fragment or not host.isprintable() or " " in host:
        raise _error("percent-encode / ? # @ and : in user and password")
    if bool(url.username) != bool(url.password):
        raise _error("give a user and a password, or neither")
    return SmtpServer(
        host,
        port or _PORTS[url.scheme],
        url.scheme == "smtps",
        _starttls(url.scheme, url.query),
        unquote(url.username) if url.username else None,
        unquote(url.password or ""),
    )


def _starttls(scheme: str, query: str) -> StartTls:
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    word = parameters.pop("starttls", StartTls.OFFERED.value)
    if parameters or (scheme == "smtps" and query):
        raise _error("there is one parameter only, starttls, and only of smtp://")
    try:
        return StartTls(word)
    except ValueError:
        raise _error("starttls is offered, require or off") from None


def _error(what: str) -> SettingsError:
    return SettingsError(f"FORMFLOW_SMTP_URL: {what}")
