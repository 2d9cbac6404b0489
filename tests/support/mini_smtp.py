"""An SMTP server that keeps what it gets, and misbehaves when told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

USER, PASSWORD = "mailer@example.com", "p@ss: wörd/#?"


@dataclass
class Received:
    """One mail, with its envelope."""

    sender: str
    recipients: list[str]
    content: bytes
    is_private: bool

    @property
    def message(self) -> EmailMessage:
        """The mail, as a program for mail reads it."""
        return message_from_bytes(self.content, policy=policy.default)


@dataclass
class MiniSmtp:
    """``answers`` are given at a stage (``connect``, ``mail``, ``rcpt``, ``data``) instead of the
    usual ones; at the stages ``hanging`` and ``dropping`` nothing is answered any more."""

    received: list[Received] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    dropping: set[str] = field(default_factory=set)
    connections: int = 0
    farewells: int = 0
    logins: list[str] = field(default_factory=list)
    greetings: list[str] = field(default_factory=list)
    port: int = 0
    _transports: list[asyncio.WriteTransport] = field(default_factory=list)

    async def handle_EHLO(
        self, server: Any, session: Session, envelope: Envelope, hostname: str, lines: list[str]
    ) -> list[str]:
        self.greetings.append(hostname)
        session.host_name = hostname
        return lines

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return await self._at("mail", server) or "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._at("rcpt", server)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        answer = await self._at("data", server)
        if answer is None:
            content = envelope.content
            assert isinstance(content, bytes)
            is_private = session.ssl is not None
            sender, recipients = envelope.mail_from or "", list(envelope.rcpt_tos)
            self.received.append(Received(sender, recipients, content, is_private))
        return answer or "250 2.0.0 Kept"

    async def handle_QUIT(self, server: Any, session: Session, envelope: Envelope) -> str:
        self.farewells += 1
        return "221 Bye"

    def log_in(
        self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        user, password = data.login.decode(), data.password.decode()
        self.logins.append(user)
        is_right = (user, password) == (USER, PASSWORD)
        return AuthResult(success=is_right, handled=False)

    def drop_all(self) -> None:
        """Ends every connection without a word."""
        for transport in self._transports:
            transport.close()

    async def _at(self, stage: str, server: Any) -> str | None:
        if stage in self.hanging:
            await asyncio.Event().wait()
        if stage in self.dropping:
            server.transport.abort()
            await asyncio.Event().wait()
        return self.answers.get(stage)


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext | None = None, *, is_tls: bool = False, **options: Any
) -> AsyncIterator[MiniSmtp]:
    """A server on a port of 127.0.0.1. With ``tls`` it offers STARTTLS, or ``is_tls`` from the
    start; ``options`` are those of aiosmtpd."""
    mini = MiniSmtp()

    def protocol() -> asyncio.Protocol:
        mini.connections += 1
        if "connect" in mini.hanging:
            return asyncio.Protocol()
        return _Tracked(mini, tls_context=None if is_tls else tls, **options)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        protocol,
        "127.0.0.1",
        0,
        ssl=tls if is_tls else None,
        ssl_handshake_timeout=5 if is_tls else None,
    )
    mini.port = server.sockets[0].getsockname()[1]
    try:
        yield mini
    finally:
        server.close()
        mini.drop_all()
        await asyncio.sleep(0)


class _Tracked(SMTP):
    def __init__(self, mini: MiniSmtp, **options: Any) -> None:
        if "auth_required" in options or options.pop("has_login", False):
            options["authenticator"] = mini.log_in
        super().__init__(mini, enable_SMTPUTF8=False, hostname="mx.example.com", **options)
        self._mini = mini

    def connection_made(self, transport: Any) -> None:
        self._mini._transports.append(transport)
        super().connection_made(transport)


def tls_context(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate for 127.0.0.1, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)  # noqa: TID251
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "certificate.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = directory / "certificate.key"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, secret)
    return context, pem
