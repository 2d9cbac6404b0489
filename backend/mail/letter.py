"""A mail to one recipient, and how it is written down (RFC 5322, RFC 2045 to 2047).

Every header is encoded here, from text that is made one line first. ``email.message`` would read
what a header is given before it writes it, so that a visitor's ``=?utf-8?q?=0D=0A…?=`` was decoded,
and takes ten times as long for the whole.
"""

from binascii import b2a_qp
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime

from backend.mail.words import one_line, paragraphs

_LINE_MAX = 76
_NAME_MAX = 100
_SUBJECT_MAX = 250


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An address with the name that is shown with it, if it has one."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """What follows the ``@``."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a mail says. ``id`` is the delivery's, of which the Message-ID is made: a mail that is
    sent twice has the same one. ``sent_at`` is Unix milliseconds. ``headers`` are further ones, of
    words and addresses of ours. One that is ``is_answer`` to a person has the null sender in its
    envelope, so that nothing ever comes back for it (RFC 3834, 3.3).
    """

    id: str
    account_id: str
    sender: NamedAddress
    recipient: str
    subject: str
    text: str
    html: str
    sent_at: int
    reply_to: str | None = None
    is_answer: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def envelope_sender(self) -> str:
        """Where a failure to deliver is reported; empty for nowhere."""
        return "" if self.is_answer else self.sender.address


def written(letter: Letter) -> bytes:
    """The mail, as it goes to a server: lines of ASCII that end with CRLF.

    Raises:
        ValueError: an address, or one of ``headers``, is more than one line.
    """
    headers = {
        "From": _named(letter.sender),
        "To": letter.recipient,
        **({"Reply-To": letter.reply_to} if letter.reply_to else {}),
        "Subject": _encoded(one_line(letter.subject, _SUBJECT_MAX), "Subject"),
        "Date": format_datetime(datetime.fromtimestamp(letter.sent_at // 1000, UTC)),
        "Message-ID": f"<{letter.id}@{letter.sender.domain}>",
        "Auto-Submitted": "auto-replied" if letter.is_answer else "auto-generated",
        **letter.headers,
        "MIME-Version": "1.0",
        # Never in what is quoted-printable, where no "=" is followed by "_" (RFC 2045, 6.7).
        "Content-Type": f'multipart/alternative;\r\n boundary="=_{letter.id}"',
    }
    delimiter = f"\r\n--=_{letter.id}".encode("ascii")
    return b"".join(
        [
            *map(_line, headers, headers.values()),
            delimiter,
            _part("plain", letter.text),
            delimiter,
            _part("html", letter.html),
            delimiter,
            b"--\r\n",
        ]
    )


def _part(subtype: str, text: str) -> bytes:
    # The encoder ends the lines that it breaks like the first line.
    lines = paragraphs(text).removesuffix("\n").replace("\n", "\r\n") + "\r\n"
    head = (
        f"\r\nContent-Type: text/{subtype}; charset=utf-8"
        "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    return head.encode("ascii") + b2a_qp(lines.encode(), istext=True)


def _line(name: str, value: str) -> bytes:
    # A fold is ours, and goes on with a space; any other end of a line would begin a header.
    if any(not character.isprintable() for character in value.replace("\r\n ", "")):
        raise ValueError(f"{name} is more than one line")
    return f"{name}: {value}\r\n".encode("ascii")


def _named(named: NamedAddress) -> str:
    name = one_line(named.name, _NAME_MAX)
    if not name:
        return named.address
    if _is_plain(name):
        escaped = name.replace("\\", r"\\").replace('"', r"\"")
        return f'"{escaped}" <{named.address}>'
    return f"{_encoded(name, 'From')} <{named.address}>"


def _encoded(text: str, header: str) -> str:
    charset = "us-ascii" if _is_plain(text) else "utf-8"
    written = Header(text, charset, maxlinelen=_LINE_MAX, header_name=header)
    return written.encode(linesep="\r\n")


def _is_plain(text: str) -> bool:
    """Whether it reads the same unencoded."""
    return text.isascii() and "=?" not in text
