"""What webhooks of chats get: a message that people read, in each chat's own JSON.

Whatever a visitor typed is shown as text: it mentions nobody, links nowhere, and looks like no
other part of the message. What a chat has no room for is cut, and the message says so. Limits are
counted in UTF-16 units, which are never fewer than characters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from backend.delivery.subjects import Subject

_CUT = "…"
_MORE = "There is more than this message has room for."
# In place of what would look empty: chats refuse parts without text.
_EMPTY = "–"
# Of a text, more than any chat shows.
_CHARACTERS_MAX = 5_000
_LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_NONE: Mapping[str, str] = MappingProxyType({})
# https://docs.slack.dev/messaging/formatting-message-text#escaping
_SLACK = MappingProxyType({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SLACK_QUOTED = MappingProxyType({**_SLACK, "\n": "\n>"})
_INDENTED = MappingProxyType({"\n": "\n  "})
# What begins emphasis, code, a quotation, a heading, a link, a mention or an emoji:
# https://support.discord.com/hc/en-us/articles/210298617
_DISCORD = MappingProxyType({mark: f"\\{mark}" for mark in "\\*_~`|<>[]()#@:"})


@dataclass(frozen=True, slots=True)
class Message:
    """What a chat is told: a title, and parts of a name and a text each."""

    title: str
    parts: Sequence[tuple[str, str]] = ()


def message_of(subject: Subject) -> Message:
    """The message about a submission: its fields in order, then its files."""
    payload: dict[str, str | list[str]] = orjson.loads(subject.submission.payload)
    parts = [
        (name, value if isinstance(value, str) else "\n".join(value))
        for name, value in payload.items()
    ]
    parts += [(file.field, f"{file.name} ({file.size:,} bytes)") for file in subject.files]
    return Message(f"New submission: {subject.form.name}", parts)


def ping_message(form_name: str) -> Message:
    """The message that tries a webhook out."""
    return Message(f"A test of FormFlow: submissions to {form_name} will be shown here.")


def slack_body(message: Message) -> bytes:
    """A section for the title and each part, whose text is a quotation.

    At most 50 blocks, of 3,000 characters each
    (https://docs.slack.dev/reference/block-kit/blocks). Slack refuses messages whose blocks are too
    long together, too, and does not say from what on: 12,000 are taken.
    """
    title = _fitted(_line(message.title), 500, _SLACK)
    blocks, room = [_slack_section(f"*{title}*")], 12_000
    for name, text in message.parts:
        if len(blocks) == 49 or room < 500:
            blocks.append(_slack_section(_MORE))
            break
        label = _fitted(_line(name), 300, _SLACK)
        quoted = _fitted(_lines(text), min(2_600, room - 400), _SLACK_QUOTED)
        part = f"*{label}*\n>{quoted}"
        blocks.append(_slack_section(part))
        room -= _units(part)
    # The text is what a notification shows.
    return orjson.dumps(
        {"text": title, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}
    )


def discord_body(message: Message) -> bytes:
    """An embed with a field for each part.

    At most 25 fields, of 256 characters in a name and 1,024 in a value, and 6,000 in all
    (https://docs.discord.com/developers/resources/message#embed-object-embed-limits).
    """
    title = _fitted(_line(message.title), 256)
    fields: list[dict[str, str]] = []
    room = 6_000 - _units(title)
    for name, text in message.parts:
        if len(fields) == 24 or room < 500:
            fields.append({"name": _MORE, "value": _EMPTY})
            break
        label = _fitted(_line(name), 200, _DISCORD)
        value = _fitted(_lines(text), min(1_024, room - 300), _DISCORD)
        fields.append({"name": label, "value": value})
        room -= _units(label + value)
    embed = {"title": title, "fields": fields}
    return orjson.dumps({"embeds": [embed], "allowed_mentions": {"parse": []}})


def telegram_body(message: Message) -> bytes:
    """A text of at most 4,096 characters, without markup. All parts together are one preformatted
    entity, in which nothing is taken for a mention, a command or a link
    (https://core.telegram.org/bots/api#messageentity, #sendmessage)."""
    title = _fitted(_line(message.title), 500)
    body: dict[str, Any] = {"text": title, "link_preview_options": {"is_disabled": True}}
    if message.parts:
        head = f"{title}\n\n"
        text = _joined(message.parts, 4_096 - _units(head))
        body["text"] = head + text
        body["entities"] = [{"type": "pre", "offset": _units(head), "length": _units(text)}]
    return orjson.dumps(body)


def _slack_section(text: str) -> dict[str, Any]:
    # Verbatim: names of channels and people in it are not looked for.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _joined(parts: Sequence[tuple[str, str]], room: int) -> str:
    """The parts one below the other, their texts indented, as much as there is room for."""
    shown: list[str] = []
    left = room
    for name, text in parts:
        label, indented = _fitted(_line(name), 300), _fitted(_lines(text), 3_000, _INDENTED)
        shown.append(f"{label}:\n  {indented}")
        left -= _units(shown[-1]) + 2
        if left < 0:
            break
    return _fitted("\n\n".join(shown), room)


def _line(text: str) -> str:
    """The text as one line that is not empty."""
    return " ".join(_lines(text).split()) or _EMPTY


def _lines(text: str) -> str:
    """The text without control characters, with plain line ends, and not empty."""
    text = _CONTROLS.sub("", _LINE_ENDS.sub("\n", text[:_CHARACTERS_MAX]))
    return text if text.strip() else _EMPTY


def _fitted(text: str, room: int, escapes: Mapping[str, str] = _NONE) -> str:
    """As much of the text, escaped, as has ``room`` units; a cut one ends in ``…``."""
    pieces = [escapes.get(character, character) for character in text[: room + 1]]
    whole = "".join(pieces)
    if _units(whole) <= room:
        return whole
    kept, used = [], _units(_CUT)
    for piece in pieces:
        used += _units(piece)
        if used > room:
            break
        kept.append(piece)
    return "".join(kept) + _CUT


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
