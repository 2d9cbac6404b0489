"""What is posted: whole requests as templates whose numbers differ from post to post.

Python's ``%`` on bytes and Lua's ``string.format`` read the same templates, so that every driver
sends the same posts.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from loadtests.targets import Target

_UNBOUNDED = 2**40


class Slot(NamedTuple):
    """A number of a template: ``n // divisor % modulus`` for the n-th post; or with ``choices``,
    of which there are ``modulus``, the choice of that number."""

    divisor: int = 1
    modulus: int = _UNBOUNDED
    choices: tuple[bytes, ...] = ()


class Template(NamedTuple):
    """Text with one ``%d`` or ``%s`` for each slot, and ``%%`` for a percent sign."""

    text: bytes
    slots: tuple[Slot, ...] = ()

    def fill(self, n: int) -> bytes:
        """The text of the n-th post."""
        return self.text % tuple(
            [
                choices[n // divisor % modulus] if choices else n // divisor % modulus
                for divisor, modulus, choices in self.slots
            ]
        )


class Requests(NamedTuple):
    """Whole requests: ``keyed`` for one post in ``keyed_every``, ``plain`` for the others."""

    plain: Template
    keyed: Template
    keyed_every: int

    def fill(self, n: int) -> bytes:
        """The n-th request."""
        return (self.plain if n % self.keyed_every else self.keyed).fill(n)


@dataclass(frozen=True)
class Work:
    """One kind of post.

    ``path`` replaces the target's; ``authorization`` is that header, as a whole line. One post in
    ``keyed_every`` carries an idempotency key: a new one, unless ``keys`` bounds how many there
    are. ``expects`` is the status of every answer; ``stores`` says whether each accepted post makes
    a row. A body's length must not depend on its numbers.
    """

    content_type: str
    body: Template
    path: Template | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    has_many_visitors: bool = True
    keyed_every: int = 10
    keys: int | None = None
    expects: int = 200
    stores: bool = True
    authorization: Template = Template(b"")

    @property
    def is_refused(self) -> bool:
        """Whether the answers are to be refusals."""
        return self.expects >= 400

    def requests(self, target: Target) -> Requests:
        """The requests that bring this work to the target."""
        key_prefix = "known" if self.keys else secrets.token_hex(4)
        key = Template(
            b"Idempotency-Key: %s-%%d\r\n" % key_prefix.encode(),
            (Slot(1, self.keys or _UNBOUNDED),),
        )
        return Requests(
            self._request(target, Template(b"")), self._request(target, key), self.keyed_every
        )

    def _request(self, target: Target, key: Template) -> Template:
        headers = {"Host": urlsplit(target.origin).netloc, "Content-Type": self.content_type}
        headers |= {**target.headers, **self.headers}
        headers["Content-Length"] = str(len(self.body.fill(0)))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return joined(
            literal(b"POST "),
            self.path or literal(target.path.encode()),
            literal(b" HTTP/1.1\r\n" + lines.encode()),
            _visitor(self.has_many_visitors),
            self.authorization,
            key,
            literal(b"\r\n"),
            self.body,
        )


def literal(text: bytes) -> Template:
    """A template without numbers."""
    return Template(text.replace(b"%", b"%%"))


def joined(*parts: Template) -> Template:
    """One template after the other."""
    return Template(
        b"".join(part.text for part in parts), tuple(slot for part in parts for slot in part.slots)
    )


def _visitor(is_one_of_many: bool) -> Template:
    """The address that the trusted proxy says a post came from: one of 16 million, in turn."""
    if not is_one_of_many:
        return Template(b"X-Forwarded-For: 203.0.113.7\r\n")
    slots = (Slot(65_536, 256), Slot(256, 256), Slot(1, 256))
    return Template(b"X-Forwarded-For: 203.%d.%d.%d\r\n", slots)
