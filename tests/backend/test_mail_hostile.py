"""Whatever people write, the mail has its own headers, one recipient, and nothing that runs."""

import re
from collections.abc import Mapping
from dataclasses import replace
from email import message_from_bytes, policy
from email.utils import getaddresses
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.mail.letter import Letter, NamedAddress, written
from backend.mail.smtp import SmtpRelay
from backend.mail.smtp_server import SmtpServer
from tests.backend.mail_builders import ORIGIN, SENDER, answer, everywhere, parts_of
from tests.support.clock import ManualClock
from tests.support.mini_smtp import serving
from tests.support.naughty import NAUGHTY

HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Unsubscribe",
    "List-Unsubscribe-Post", "MIME-Version", "Content-Type",
]  # fmt: skip
ANSWER_HEADERS = [
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Precedence",
    "X-Auto-Response-Suppress", "MIME-Version", "Content-Type",
]  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "h1", "br", "a",
    "span",
}  # fmt: skip
LINE_MAX = 998


class Markup(HTMLParser):
    """The tags of a page, its links, and what it shows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]

    def handle_comment(self, data: str) -> None:
        self.tags.add("a comment")


def check(letter: Letter, expected: list[str], links: int) -> None:
    raw = written(letter)
    head = raw.partition(b"\r\n\r\n")[0]
    names = re.findall(rb"^([^ \t:]+):", head, re.MULTILINE)
    assert [name.decode() for name in names if name != b"Reply-To"] == expected
    assert re.search(rb"[^\t\r\n -~]|(?<!\r)\n|\r(?!\n)", raw) is None
    assert max(map(len, raw.split(b"\r\n"))) <= LINE_MAX
    message = message_from_bytes(raw, policy=policy.default)
    assert getaddresses([str(message["To"])]) == [("", letter.recipient)]
    assert [address for _, address in getaddresses([str(message["From"])])] == [SENDER.address]
    assert message["Bcc"] is message["Cc"] is None
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    page = Markup(parts_of(message)[1])
    assert page.tags <= TAGS
    assert page.handlers == []
    assert len(page.links) == links
    assert all(link.startswith(f"{ORIGIN}/") for link in page.links)


def test_there_are_many_of_them() -> None:
    assert len(set(NAUGHTY)) > 250


@pytest.mark.parametrize("text", NAUGHTY, ids=range(len(NAUGHTY)))
def test_naughty_strings(text: str) -> None:
    check(everywhere(text), HEADERS, links=2)
    check(answer(text), ANSWER_HEADERS, links=0)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(), max_size=300))
def test_any_text(text: str) -> None:
    check(everywhere(text), HEADERS, links=2)
    check(answer(text), ANSWER_HEADERS, links=0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße", "Grüße"),
        ("plain", "plain"),
        ("a\r\nBcc: b", "a Bcc: b"),
        ("=?utf-8?q?a=0D=0AB?=", "=?utf-8?q?a=0D=0AB?="),
        ("\u202efdp.exe", "\ufffdfdp.exe"),
        ("ä" * 300, "ä" * 249 + "…"),
        ("x" * 300, "x" * 249 + "…"),
        ("👩‍👩‍👧 " * 9, ("👩‍👩‍👧 " * 9).strip()),
    ],
)
def test_a_subject_reads_as_it_was_written(text: str, shown: str) -> None:
    letter = replace(everywhere("x"), subject=text)
    message = message_from_bytes(written(letter), policy=policy.default)
    assert message["Subject"] == shown


@pytest.mark.parametrize(
    "name", ["Shop, Inc.", 'The "Shop"', "Back\\slash", "=?utf-8?q?x?=", "Ä, B"]
)
def test_a_senders_name_reads_as_it_was_written(name: str) -> None:
    letter = replace(everywhere("x"), sender=NamedAddress("shop@example.com", name))
    message = message_from_bytes(written(letter), policy=policy.default)
    [address] = message["From"].addresses
    assert (address.display_name, address.addr_spec) == (name, "shop@example.com")


@pytest.mark.parametrize(
    "changes",
    [
        {"recipient": "a@b.c\r\nBcc: d@e.f"},
        {"reply_to": "a@b.c\nBcc: d@e.f"},
        {"headers": {"X": "1\r\nBcc: d@e.f"}},
        {"id": "dlv\r\n"},
    ],
)
def test_what_must_be_one_line_and_is_not_is_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match="more than one line"):
        written(replace(everywhere("x"), **changes))


@pytest.mark.asyncio
async def test_a_server_gets_one_mail_to_one_recipient_each_time() -> None:
    async with serving() as mini:
        relay = SmtpRelay(SmtpServer("127.0.0.1", mini.port), "localhost", ManualClock())
        for text in NAUGHTY:
            await relay.send(everywhere(text))
        await relay.close()
    assert [mail.recipients for mail in mini.received] == [["owner@example.com"]] * len(NAUGHTY)
    assert {mail.sender for mail in mini.received} == {SENDER.address}
