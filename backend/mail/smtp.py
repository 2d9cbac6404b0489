"""Mails by SMTP (RFC 5321), over a few connections that are kept for a while.

What a server says of a mail is about that mail; a server that cannot be reached, does not let us
in or ends a dialogue before a mail's text is under way is away, which says nothing about the mail.
Once the text is under way, silence counts against the mail, too: one that breaks a server must not
be sent for ever.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from backend.delivery.attempts import ANSWER_MAX_BYTES, Attempt, Verdict
from backend.mail.letter import Letter, written
from backend.mail.smtp_server import SmtpServer, StartTls
from backend.mail.words import one_line, paragraphs
from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger

TIMEOUT_SECONDS = 30.0
IDLE_MAX = 4
IDLE_SECONDS = 30.0
_LOG_SECONDS = 60.0
_LEAVE_SECONDS = 1.0
_REASON_MAX = 200
# "Service not available" and "authentication required": the server speaks of itself, not of a mail.
_OF_THE_SERVER = frozenset({421, 530})
_AWAY = (OSError, SMTPException, TimeoutError)
_log = get_logger("backend")


class RelayAway(Exception):
    """The server cannot be used now; the message says why, and is for its operator."""


class SmtpRelay:
    """An ``Outlet``. Each mail has a connection to itself, and ``TIMEOUT_SECONDS`` in all."""

    def __init__(
        self, server: SmtpServer, greeting_name: str, clock: Clock, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """``greeting_name`` is what the server is told we are."""
        self._server = server
        self._greeting_name = greeting_name
        self._clock = clock
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[SMTP, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._logged_at: float | None = None

    async def send(self, letter: Letter) -> Attempt:
        """See ``Outlet``."""
        content = written(letter)
        stage = _Stage()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._send(letter, content, stage)
        except RelayAway as away:
            reason = str(away)
        except SMTPResponseException as refusal:
            if refusal.code >= 400 and refusal.code not in _OF_THE_SERVER:
                return self._refused(refusal, letter.recipient)
            reason = f"it answered {refusal.code}"
        except _AWAY as error:
            reason = _reason(error)
        if stage.is_under_way:
            error_line = f"The mail server did not confirm the mail: {reason}"
            return Attempt(Verdict.FAILED, None, error_line, request_url=self._server.url)
        self._report(reason)
        return Attempt(
            Verdict.AWAY, None, "The mail server of this installation cannot be used right now."
        )

    @property
    def url(self) -> str:
        """The server's address, without user and password."""
        return self._server.url

    async def check(self) -> None:
        """Connects and logs in, as for a mail. Raises RelayAway."""
        try:
            async with asyncio.timeout(self._timeout), self._connection():
                return
        except _AWAY as error:
            raise RelayAway(_reason(error)) from None

    async def close(self) -> None:
        """Ends the connections that are kept."""
        for timer in self._idle.values():
            timer.cancel()
        kept = list(self._idle)
        self._idle.clear()
        await asyncio.gather(*map(_leave, kept), *self._leaving)

    async def _send(self, letter: Letter, content: bytes, stage: "_Stage") -> Attempt:
        while True:
            is_kept = bool(self._idle)
            try:
                async with self._connection() as connection:
                    await connection.mail(letter.envelope_sender)
                    await connection.rcpt(letter.recipient)
                    stage.is_under_way = True
                    answer = await connection.data(content)
                    return Attempt(
                        Verdict.DELIVERED,
                        answer.code,
                        answer=_masked(str(answer), letter.recipient),
                        request_url=self._server.url,
                    )
            except SMTPServerDisconnected:
                # Servers end connections that are kept without a word; a new one tells more.
                if stage.is_under_way or not is_kept:
                    raise

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        """A connection, kept for the next mail if the block ends well and it still stands."""
        connection = self._kept() or await self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.is_connected and len(self._idle) < IDLE_MAX:
            loop = asyncio.get_running_loop()
            self._idle[connection] = loop.call_later(IDLE_SECONDS, self._drop, connection)
        else:
            connection.close()

    def _kept(self) -> SMTP | None:
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.is_connected:
                return connection
            connection.close()
        return None

    def _drop(self, connection: SMTP) -> None:
        """Is called when a connection was not needed for a while."""
        del self._idle[connection]
        task = asyncio.create_task(_leave(connection))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _connect(self) -> SMTP:
        server = self._server
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        start_tls = {StartTls.OFFERED: None, StartTls.REQUIRE: True, StartTls.OFF: False}
        connection = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=self._greeting_name,
            use_tls=server.is_tls,
            start_tls=False if server.is_tls else start_tls[server.starttls],
            tls_context=self._tls,
            timeout=self._timeout,
        )
        try:
            await connection.connect()
            await self._log_in(connection)
        except SMTPAuthenticationError as refusal:
            connection.close()
            raise RelayAway(f"it refuses user or password ({refusal.code})") from None
        except SMTPResponseException as refusal:
            connection.close()
            raise RelayAway(f"it answered {refusal.code}") from None
        except BaseException:
            connection.close()
            raise
        return connection

    async def _log_in(self, connection: SMTP) -> None:
        server = self._server
        if server.user is None:
            return
        is_private = connection.get_transport_info("sslcontext") is not None
        if not (is_private or server.starttls is StartTls.OFF or _is_loopback(server.host)):
            raise RelayAway(
                "it offers no STARTTLS, and the password does not go out in clear "
                "(?starttls=off allows it)"
            )
        await connection.login(server.user, server.password)

    def _refused(self, refusal: SMTPResponseException, recipient: str) -> Attempt:
        """What a server's no to a mail means: 4xx may pass, 5xx is for good (RFC 5321, 4.2.1)."""
        answer = _masked(f"{refusal.code} {refusal.message}", recipient)
        return Attempt(
            Verdict.REFUSED if refusal.code >= 500 else Verdict.FAILED,
            refusal.code,
            f"The mail server refused the mail with {refusal.code}",
            answer,
            self._server.url,
        )

    def _report(self, reason: str) -> None:
        """Tells the operator, once a minute at most."""
        now = self._clock.monotonic()
        if self._logged_at is None or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            _log.error("mail server away: mails wait", server=self._server.url, reason=reason)


async def _leave(connection: SMTP) -> None:
    """Ends a connection with a word, if the server listens."""
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            await connection.quit()
    except _AWAY:
        _log.debug("a mail server ended a connection first")
    finally:
        connection.close()


class _Stage:
    """How far a mail has come."""

    is_under_way = False


def _reason(error: Exception) -> str:
    """One line for the operator."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    return one_line(str(error), _REASON_MAX) or type(error).__name__


def _masked(answer: str, recipient: str) -> str:
    """An answer to be kept: bytes that are no text are marked, and an address must not outlive the
    submission that it is of."""
    text = re.sub(re.escape(recipient), "<recipient>", paragraphs(answer), flags=re.IGNORECASE)
    return text.encode()[:ANSWER_MAX_BYTES].decode(errors="ignore")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
