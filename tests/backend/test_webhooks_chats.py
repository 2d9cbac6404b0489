"""Messages to chats: nothing that a visitor typed pings, links, breaks markup or is too long."""

import re
from typing import Any
from unicodedata import category

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.webhooks.chats import (
    Message,
    discord_body,
    ping_message,
    slack_body,
    telegram_body,
)

HOSTILE = (
    "@everyone",
    "@here <@123456789> <@&1> <#1> <:smile:1> <t:0:R>",
    "<!channel> <!here> <@U012AB3CD> <#C012AB3CD> <!subteam^S01|x>",
    "<https://evil.example|https://bank.example>",
    "[https://bank.example](https://evil.example)",
    "*bold* _it_ ~no~ **b** __u__ ||spoiler|| `code` ```block```",
    "> quote\n>>> all\n# heading\n- list\n-# small",
    "*email*\n>forged@example.com",
    "a\n\nemail:\nforged@example.com",
    "&lt;!channel&gt; &amp;",
    "\\@everyone \\\\*x*",
    "/start@bot #tag $USD @admin t.me/x",
    "\0\x1b[31m\x07\u202e\u2028x\u2029\x85y\r\nz\rw",
    "🦊" * 3_000,
    "&" * 3_000,
    "\n" * 3_000,
    "*" * 3_000,
    " \t\n ",
    "",
)
texts = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=200), st.text("<>&*_`@\n\\a", max_size=99)
)
parts = st.lists(st.tuples(texts, texts), max_size=60)
messages = st.builds(Message, texts, parts)


def utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def is_readable(text: str) -> bool:
    """Whether there is something to see, and no control character."""
    controls = (category(character) == "Cc" and character not in "\n\t" for character in text)
    return bool(text.strip()) and not any(controls)


@given(messages)
def test_slack_takes_no_visitors_text_for_markup_or_a_mention(message: Message) -> None:
    body = orjson.loads(slack_body(message))
    assert body["unfurl_links"] is body["unfurl_media"] is False
    assert 1 <= len(body["blocks"]) <= 50
    shown = [block["text"]["text"] for block in body["blocks"]]
    assert sum(map(utf16_units, shown)) <= 13_000
    for block, text in zip(body["blocks"], shown, strict=True):
        assert set(block) == {"type", "text"}
        assert (block["text"]["type"], block["text"]["verbatim"]) == ("mrkdwn", True)
        assert 1 <= utf16_units(text) <= 3_000
    for text in [body["text"], *shown]:
        assert is_readable(text)
        # What is not escaped is the mark of a quotation, which is ours.
        assert "<" not in text
        assert re.fullmatch(r"(?:[^&]|&amp;|&lt;|&gt;)*", text)
        assert all(">" not in line[1:] for line in text.split("\n"))
    for text in shown[1 : 1 + min(len(message.parts), 48)]:
        label, *value = text.split("\n")
        assert label.startswith("*") or text == shown[-1]
        assert all(line.startswith(">") for line in value)


@given(messages)
def test_discord_takes_no_visitors_text_for_markup_or_a_mention(message: Message) -> None:
    body = orjson.loads(discord_body(message))
    assert body["allowed_mentions"] == {"parse": []}
    assert set(body) == {"embeds", "allowed_mentions"}
    [embed] = body["embeds"]
    assert len(embed["fields"]) <= 25
    assert 1 <= utf16_units(embed["title"]) <= 256
    whole = [embed["title"]]
    for field in embed["fields"]:
        assert 1 <= utf16_units(field["name"]) <= 256
        assert 1 <= utf16_units(field["value"]) <= 1_024
        assert is_readable(field["name"])
        assert is_readable(field["value"])
        whole += [field["name"], field["value"]]
    assert sum(map(utf16_units, whole)) <= 6_000
    for text in whole[1:]:
        plain = re.sub(r"\\[\\*_~`|<>\[\]()#@:]", "", text)
        assert re.search(r"[\\*_~`|<>\[\]()#@:]", plain) is None


@given(messages)
def test_telegram_takes_no_visitors_text_for_markup_or_a_mention(message: Message) -> None:
    body = orjson.loads(telegram_body(message))
    assert "parse_mode" not in body
    assert body["link_preview_options"] == {"is_disabled": True}
    assert 1 <= utf16_units(body["text"]) <= 4_096
    assert is_readable(body["text"])
    head, *_ = body["text"].split("\n")
    if message.parts:
        [entity] = body["entities"]
        assert entity["type"] == "pre"
        assert entity["offset"] == utf16_units(head) + 2
        assert entity["offset"] + entity["length"] == utf16_units(body["text"])
        for part in body["text"].split("\n\n")[1:]:
            _, *value = part.split("\n")
            assert all(line.startswith("  ") or line.endswith("…") for line in value)
    else:
        assert body["text"] == head


@pytest.mark.parametrize("body_of", [slack_body, discord_body, telegram_body])
def test_what_is_cut_says_so_and_what_is_not_is_whole(body_of: Any) -> None:
    short = body_of(Message("Contact", [("name", "Zoë 🦊"), ("message", "one\ntwo")]))
    assert "Zoë 🦊" in short.decode()
    assert "…" not in short.decode()
    long = body_of(Message("Contact", [("message", "é" * 9_000)])).decode()
    assert "ééé…" in long
    many = body_of(Message("Contact", [(f"field {n}", "x" * 90) for n in range(200)])).decode()
    assert "…" in many or "There is more" in many


def test_a_message_looks_as_it_should() -> None:
    message = Message("New submission: Q & A", [("e-mail", "ada@example.com"), ("text", "a\n<b>")])
    slack = orjson.loads(slack_body(message))
    assert [block["text"]["text"] for block in slack["blocks"]] == [
        "*New submission: Q &amp; A*",
        "*e-mail*\n>ada@example.com",
        "*text*\n>a\n>&lt;b&gt;",
    ]
    discord = orjson.loads(discord_body(message))
    assert discord["embeds"][0] == {
        "title": "New submission: Q & A",
        "fields": [
            {"name": "e-mail", "value": "ada\\@example.com"},
            {"name": "text", "value": "a\n\\<b\\>"},
        ],
    }
    telegram = orjson.loads(telegram_body(message))
    assert telegram["text"] == (
        "New submission: Q & A\n\ne-mail:\n  ada@example.com\n\ntext:\n  a\n  <b>"
    )
    assert "fields" not in str(orjson.loads(telegram_body(ping_message("Contact"))))
