"""The mail about a submission: what a visitor sent, for the people who are to read it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from backend.delivery.subjects import Subject
from backend.forms.store import FormRow
from backend.mail.autoresponse import sole_address
from backend.mail.letter import Letter, NamedAddress
from backend.mail.placeholders import Payload, filled
from backend.mail.rendering import rendered
from backend.mail.words import moment, one_line, paragraphs, size
from backend.submissions.file_store import FileRow

VALUE_MAX = 20_000
"""Characters of one value that a mail shows."""
VALUES_MAX = 60_000
"""Characters of all values that a mail shows: in HTML that is about where mail programs cut."""
_LABEL_MAX = 200
_PREVIEW_MAX = 140
_SUBJECT = "New submission: {{form.name}}"

FileUrl = Callable[[str, str], str]
"""The link to a file, of the ids of its submission and its own."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field as the mail shows it; ``left_out`` counts the characters that it does not."""

    label: str
    values: Sequence[str]
    left_out: int


def notification(
    delivery_id: str,
    subject: Subject,
    sender: NamedAddress,
    recipient: str,
    now_ms: int,
    *,
    file_url: FileUrl | None,
    unsubscribe_url: str | None,
) -> Letter:
    """The mail to one of the addresses that the form notifies. Without ``file_url`` it names the
    files only; without ``unsubscribe_url`` it does not say how to be rid of such mails."""
    form, submission = subject.form, subject.submission
    payload: Payload = orjson.loads(submission.payload)
    entries = list(_entries(form, payload))
    values = {
        "form_name": form.name,
        "submission_id": submission.id,
        "recipient": recipient,
        "received": moment(submission.received_at),
        "preview": _preview(entries),
        "entries": entries,
        "files": [_file(file, file_url) for file in subject.files],
        "unsubscribe_url": unsubscribe_url,
    }
    text, html = rendered("notification", values)
    return Letter(
        id=delivery_id,
        account_id=form.account_id,
        sender=sender,
        recipient=recipient,
        subject=filled(form.subject_template or _SUBJECT, form.name, payload, str),
        text=text,
        html=html,
        sent_at=now_ms,
        reply_to=sole_address(payload),
        headers=_list_headers(unsubscribe_url),
    )


def _list_headers(unsubscribe_url: str | None) -> Mapping[str, str]:
    """What lets a mail program offer to unsubscribe, with one click (RFC 8058)."""
    if unsubscribe_url is None:
        return {}
    return {
        "List-Unsubscribe": f"<{unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _entries(form: FormRow, payload: Payload) -> Iterator[_Entry]:
    labels = {field.name: field.label for field in form.fields}
    room = VALUES_MAX
    for name, value in payload.items():
        shown, left_out = [], 0
        for item in [value] if isinstance(value, str) else value:
            text = paragraphs(item)
            part = text[: min(VALUE_MAX, room)]
            room -= len(part)
            left_out += len(text) - len(part)
            shown.append(part)
        yield _Entry(one_line(labels.get(name) or name, _LABEL_MAX), shown, left_out)


def _preview(entries: Sequence[_Entry]) -> str:
    """What a list of mails shows beside the subject."""
    values = (value for entry in entries for value in entry.values if value)
    return one_line(" · ".join(values), _PREVIEW_MAX)


def _file(file: FileRow, file_url: FileUrl | None) -> Mapping[str, str | None]:
    url = file_url(file.submission_id, file.id) if file_url else None
    name = one_line(file.name, _LABEL_MAX)
    return {"name": name, "size": size(file.size), "url": url}
