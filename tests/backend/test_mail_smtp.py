"""Mails by SMTP, to a server that behaves and one that does not."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from backend.delivery.attempts import Verdict
from backend.mail import smtp
from backend.mail.letter import Letter, NamedAddress
from backend.mail.smtp import RelayAway, SmtpRelay
from backend.mail.smtp_server import SmtpServer, StartTls, parse_smtp_url
from contracts.runtime.settings import SettingsError
from tests.support.clock import ManualClock
from tests.support.mini_smtp import PASSWORD, USER, MiniSmtp, serving, tls_context

LETTER = Letter(
    id="dlv_01jz8q6v4mq0c3e5r7t9w1y2a4",
    account_id="acc_01jz8q6v4mq0c3e5r7t9w1y2a4",
    sender=NamedAddress("shop@example.com", "Shop"),
    recipient="ada@example.com",
    subject="Hello",
    text=".\n..\nA line.\n.\n",
    html="<p>A line.</p>",
    sent_at=1_780_000_000_000,
)
LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}"


def relay_to(mini: MiniSmtp, user: str = "", query: str = "", **options: float) -> SmtpRelay:
    server = parse_smtp_url(f"smtp://{user}{'@' if user else ''}127.0.0.1:{mini.port}{query}")
    return SmtpRelay(server, "forms.example.com", ManualClock(), **options)


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context, whose certificate this process trusts."""
    context, certificate = tls_context(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return context


@pytest.mark.asyncio
async def test_a_mail_arrives_whole_with_its_envelope() -> None:
    async with serving() as mini:
        relay = relay_to(mini)
        attempt = await relay.send(LETTER)
        await relay.close()
    assert (attempt.verdict, attempt.status) == (Verdict.DELIVERED, 250)
    assert (attempt.answer, attempt.request_url) == (
        "250 2.0.0 Kept",
        f"smtp://127.0.0.1:{mini.port}",
    )
    [mail] = mini.received
    assert (mail.sender, mail.recipients) == ("shop@example.com", ["ada@example.com"])
    assert mail.message["From"] == "Shop <shop@example.com>"
    plain, page = mail.message.iter_parts()
    assert plain.get_content().splitlines() == [".", "..", "A line.", "."]
    assert page.get_content().splitlines() == ["<p>A line.</p>"]
    assert mini.greetings == ["forms.example.com"]


@pytest.mark.asyncio
async def test_an_answer_to_a_visitor_has_the_null_sender() -> None:
    async with serving() as mini:
        relay = relay_to(mini)
        attempt = await relay.send(replace(LETTER, is_answer=True))
        await relay.close()
    assert attempt.verdict is Verdict.DELIVERED
    assert mini.received[0].sender == "<>"


@pytest.mark.parametrize("stage", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("451 4.7.1 Greylisted, ada@example.com: come again", Verdict.FAILED),
        ("452 4.2.2 Full: <ADA@example.com>", Verdict.FAILED),
        ("550 5.1.1 No such user: ada@example.com", Verdict.REFUSED),
        ("552 5.3.4 Too large", Verdict.REFUSED),
        ("554 5.7.1 Rejected as spam", Verdict.REFUSED),
    ],
)
@pytest.mark.asyncio
async def test_what_the_server_says_of_a_mail_is_the_verdict(
    stage: str, answer: str, verdict: Verdict
) -> None:
    async with serving() as mini:
        mini.answers[stage] = answer
        relay = relay_to(mini)
        attempt = await relay.send(LETTER)
        mini.answers.clear()
        assert (await relay.send(LETTER)).verdict is Verdict.DELIVERED
        await relay.close()
    assert (attempt.verdict, attempt.status) == (verdict, int(answer[:3]))
    # What outlives the submission must not hold its address.
    assert "ada@" not in f"{attempt.answer}{attempt.error}".lower()
    assert len(mini.received) == 1


@pytest.mark.parametrize("stage", ["mail", "rcpt"])
@pytest.mark.parametrize("answer", ["421 4.3.2 Going down", "530 5.7.0 Log in first"])
@pytest.mark.asyncio
async def test_a_server_that_speaks_of_itself_is_away(stage: str, answer: str) -> None:
    async with serving() as mini:
        mini.answers[stage] = answer
        relay = relay_to(mini)
        attempt = await relay.send(LETTER)
        await relay.close()
    assert attempt.verdict is Verdict.AWAY


@pytest.mark.asyncio
async def test_a_server_that_is_not_there_is_away_and_said_so_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = ManualClock()
    async with serving() as mini:
        port = mini.port
    relay = SmtpRelay(SmtpServer("127.0.0.1", port, password="secret"), "localhost", clock)
    for _ in range(3):
        attempt = await relay.send(LETTER)
        assert attempt.verdict is Verdict.AWAY
        assert str(port) not in str(attempt.error)
        clock.advance(25)
    await relay.close()
    log = capsys.readouterr()
    assert (log.out + log.err).count("mail server away") == 1
    assert "ada@example.com" not in log.out + log.err


@pytest.mark.parametrize(
    ("stage", "verdict"),
    [
        ("connect", Verdict.AWAY),
        ("mail", Verdict.AWAY),
        ("rcpt", Verdict.AWAY),
        ("data", Verdict.FAILED),
    ],
)
@pytest.mark.asyncio
async def test_a_server_that_falls_silent_costs_no_more_than_the_deadline(
    stage: str, verdict: Verdict
) -> None:
    async with serving() as mini:
        mini.hanging.add(stage)
        relay = relay_to(mini, timeout=0.3)
        attempt = await asyncio.wait_for(relay.send(LETTER), 20)
        await relay.close()
    assert attempt.verdict is verdict


@pytest.mark.parametrize(("stage", "verdict"), [("mail", Verdict.AWAY), ("data", Verdict.FAILED)])
@pytest.mark.asyncio
async def test_a_connection_that_is_lost_counts_once_the_text_is_under_way(
    stage: str, verdict: Verdict
) -> None:
    async with serving() as mini:
        mini.dropping.add(stage)
        relay = relay_to(mini)
        attempt = await relay.send(LETTER)
        await relay.close()
    assert attempt.verdict is verdict


@pytest.mark.parametrize(
    ("end", "verdict", "shown"),
    [
        (b"250 caf\xe9\x00 kept", Verdict.DELIVERED, "250 caf\ufffd\ufffd kept"),
        (b"550 caf\xe9\x00 no", Verdict.REFUSED, "550 caf\ufffd\ufffd no"),
        (b"250 " + b"x" * 5_000, Verdict.DELIVERED, "250 " + "x" * 4_092),
        (b"what is this", Verdict.FAILED, None),
    ],
)
@pytest.mark.asyncio
async def test_an_answer_is_kept_as_text_whatever_its_bytes(
    end: bytes, verdict: Verdict, shown: str | None
) -> None:
    answers = iter((b"250 hello", b"250 from", b"250 to", b"354 go on"))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        for answer in answers:
            await reader.readline()
            writer.write(answer + b"\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(end + b"\r\n")
        await reader.read()
        writer.close()
        is_over.set()

    is_over = asyncio.Event()
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    relay = SmtpRelay(SmtpServer("127.0.0.1", port), "localhost", ManualClock(), timeout=10)
    attempt = await relay.send(LETTER)
    await relay.close()
    await is_over.wait()
    server.close()
    assert (attempt.verdict, attempt.answer) == (verdict, shown)


@pytest.mark.asyncio
async def test_connections_are_kept_and_replaced_when_the_server_ended_them() -> None:
    async with serving() as mini:
        relay = relay_to(mini)
        for _ in range(3):
            assert (await relay.send(LETTER)).verdict is Verdict.DELIVERED
        assert mini.connections == 1
        mini.drop_all()
        assert (await relay.send(LETTER)).verdict is Verdict.DELIVERED
        await relay.close()
    assert mini.connections == 2
    assert len(mini.received) == 4


@pytest.mark.asyncio
async def test_mails_at_once_have_connections_of_their_own_and_few_are_kept() -> None:
    async with serving() as mini:
        relay = relay_to(mini)
        attempts = await asyncio.gather(*(relay.send(LETTER) for _ in range(9)))
        assert {attempt.verdict for attempt in attempts} == {Verdict.DELIVERED}
        before = mini.connections
        await asyncio.gather(*(relay.send(LETTER) for _ in range(9)))
        await relay.close()
    assert before == 9
    assert mini.connections == before + 9 - smtp.IDLE_MAX
    assert len(mini.received) == 18


@pytest.mark.asyncio
async def test_a_kept_connection_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "IDLE_SECONDS", 0.0)
    async with serving() as mini:
        relay = relay_to(mini)
        await relay.send(LETTER)
        async with asyncio.timeout(20):
            while not mini.farewells:
                await asyncio.sleep(0.01)
        await relay.send(LETTER)
        await relay.close()
    assert (mini.connections, mini.farewells) == (2, 2)


@pytest.mark.asyncio
async def test_starttls_and_login(tls: ssl.SSLContext) -> None:
    async with serving(tls, auth_required=True) as mini:
        relay = relay_to(mini, LOGIN)
        attempt = await relay.send(LETTER)
        await relay.check()
        await relay.close()
    assert attempt.verdict is Verdict.DELIVERED
    assert mini.received[0].is_private
    assert mini.logins == [USER]


@pytest.mark.asyncio
async def test_tls_from_the_start(tls: ssl.SSLContext) -> None:
    async with serving(tls, is_tls=True, has_login=True, auth_require_tls=False) as mini:
        server = parse_smtp_url(f"smtps://{LOGIN}@127.0.0.1:{mini.port}")
        relay = SmtpRelay(server, "localhost", ManualClock())
        attempt = await relay.send(LETTER)
        await relay.close()
    assert attempt.verdict is Verdict.DELIVERED
    assert mini.logins == [USER]


@pytest.mark.asyncio
async def test_a_wrong_password_is_the_operators_to_mend(
    tls: ssl.SSLContext, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving(tls, auth_required=True) as mini:
        relay = relay_to(mini, "mailer%40example.com:guessed")
        attempt = await relay.send(LETTER)
        with pytest.raises(RelayAway, match="refuses user or password"):
            await relay.check()
        await relay.close()
    assert attempt.verdict is Verdict.AWAY
    log = capsys.readouterr()
    assert "refuses user or password" in log.out + log.err
    assert "guessed" not in log.out + log.err


@pytest.mark.asyncio
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    context, _ = tls_context(tmp_path)
    async with serving(context) as mini:
        relay = relay_to(mini)
        assert (await relay.send(LETTER)).verdict is Verdict.AWAY
        with pytest.raises(RelayAway, match="certificate"):
            await relay.check()
        await relay.close()
        clear = relay_to(mini, query="?starttls=off")
        assert (await clear.send(LETTER)).verdict is Verdict.DELIVERED
        await clear.close()
    assert not mini.received[0].is_private


@pytest.mark.asyncio
async def test_starttls_that_must_be_and_is_not_offered_stops_the_mail() -> None:
    async with serving() as mini:
        relay = relay_to(mini, query="?starttls=require")
        assert (await relay.send(LETTER)).verdict is Verdict.AWAY
        with pytest.raises(RelayAway, match="STARTTLS"):
            await relay.check()
        await relay.close()
    assert mini.received == []


def test_urls() -> None:
    assert parse_smtp_url("smtp://mail.example.com") == SmtpServer("mail.example.com", 587)
    assert parse_smtp_url("smtps://[2001:db8::1]") == SmtpServer("2001:db8::1", 465, True)
    assert parse_smtp_url("smtps://[2001:db8::1]").url == "smtps://[2001:db8::1]:465"
    full = parse_smtp_url("smtp://a%40b.c:p%3A%2F%3F%23%40@h:2525/?starttls=require")
    assert full == SmtpServer("h", 2525, False, StartTls.REQUIRE, "a@b.c", "p:/?#@")
    assert "p:/" not in repr(full)
    assert full.url == "smtp://h:2525"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "http://u:hunter2@h",
        "smtp://",
        "smtp://u:hunter2@",
        "smtp://u:hunter2@h:99999",
        "smtp://u:hunter2@h:port",
        "smtp://u:hunter2@h:0",
        "smtp://u:hunter2@[::1",
        "smtp://u:hunter2@h/path",
        "smtp://u:hunter2/x@h",
        "smtp://u:hunter2#x@h",
        "smtp://u:hunter2?x@h",
        "smtp://hunter2@h",
        "smtp://u:@h",
        "smtp://u:hunter2@h h",
        "smtp://u:hunter2@h?starttls=maybe",
        "smtp://u:hunter2@h?tls=1",
        "smtps://u:hunter2@h?starttls=off",
    ],
)
def test_a_bad_url_is_named_and_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^FORMFLOW_SMTP_URL: ") as refusal:
        parse_smtp_url(url)
    assert "hunter2" not in str(refusal.value)
