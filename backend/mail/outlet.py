"""Where mails go: to an SMTP server, or into files."""

from typing import Protocol

from backend.delivery.attempts import Attempt
from backend.forms.mail import named_address
from backend.mail.letter import Letter, NamedAddress
from backend.mail.mailbox import FileMailbox
from backend.mail.smtp import SmtpRelay
from backend.mail.smtp_server import parse_smtp_url
from contracts.runtime.clock import Clock
from contracts.runtime.settings import Settings, SettingsError


class Outlet(Protocol):
    """A way for mails to go."""

    async def send(self, letter: Letter) -> Attempt:
        """Hands over one mail, within its own bound of time."""

    async def close(self) -> None:
        """Lets go of what is held open."""


def create_outlet(settings: Settings, clock: Clock) -> SmtpRelay | FileMailbox:
    """The one that the settings say. Raises SettingsError."""
    if settings.smtp_url is None:
        return FileMailbox(settings.data_dir / "mail")
    return create_relay(settings, clock)


def create_relay(settings: Settings, clock: Clock) -> SmtpRelay:
    """The SMTP server of the settings, which must name one. Raises SettingsError."""
    url = settings.smtp_url.get_secret_value() if settings.smtp_url else ""
    return SmtpRelay(parse_smtp_url(url), server_address(settings).domain, clock)


def server_address(settings: Settings) -> NamedAddress:
    """Who mails are from, unless a form says. Raises SettingsError."""
    named = named_address(settings.mail_from)
    if named is None:
        raise SettingsError(
            "FORMFLOW_MAIL_FROM: give an address, or a name with it: Shop <shop@example.com>"
        )
    return NamedAddress(named[1], named[0])
