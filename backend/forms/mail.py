"""What a form's members on mail may hold."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.mail.placeholders import is_template
from backend.schemas import CONTROL_CHARACTERS, EMAIL_MAX, EMAIL_PATTERN

RECIPIENTS_MAX = 20
_SUBJECT_MAX = 200
_NAME_MAX = 100
_ADDRESS = re.compile(EMAIL_PATTERN)
_NAMED_ADDRESS = re.compile(r'([^<>"]+) <([^<> ]+)>')
_LINE = f"^[^{CONTROL_CHARACTERS}]+$"
# Several lines: line ends and tabs may be in it.
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]+$"
_MESSAGE_MAX = 5_000


def is_address(text: str) -> bool:
    """Whether it is one e-mail address, without a name."""
    return len(text) <= EMAIL_MAX and _ADDRESS.fullmatch(text) is not None


def _notify_emails(text: str) -> str:
    addresses: dict[str, str] = {}
    for address in filter(None, map(str.strip, text.split(","))):
        if not is_address(address):
            raise PydanticCustomError(
                "bad_address", "Give e-mail addresses with commas between them, or nothing."
            )
        addresses.setdefault(address.lower(), address)
    if len(addresses) > RECIPIENTS_MAX:
        raise PydanticCustomError("too_long", "Give 20 addresses at most.")
    return ",".join(addresses.values())


def named_address(text: str) -> tuple[str, str] | None:
    """The name, which may be empty, and the address of ``Shop <shop@example.com>``; None if it is
    neither that nor an address alone."""
    named = _NAMED_ADDRESS.fullmatch(text)
    name, address = (named[1].strip(), named[2]) if named else ("", text)
    return (name, address) if is_address(address) and len(name) <= _NAME_MAX else None


def _from_address(text: str) -> str:
    if named_address(text) is None:
        raise PydanticCustomError(
            "bad_address", "Give an e-mail address, or a name with it: Shop <shop@example.com>"
        )
    return text


def _template(text: str) -> str:
    if not is_template(text):
        raise PydanticCustomError(
            "bad_placeholder", "Placeholders are {{form.name}} and {{field.NAME}}."
        )
    return text


NotifyEmails = Annotated[
    str,
    StringConstraints(max_length=RECIPIENTS_MAX * (EMAIL_MAX + 2)),
    AfterValidator(_notify_emails),
    Field(
        description="Who is told of a submission: e-mail addresses with commas between them. By "
        "default the account owner's; if empty, nobody.",
        examples=["ada@example.com,sales@example.com"],
    ),
]

FromAddress = Annotated[
    str,
    StringConstraints(max_length=_NAME_MAX + EMAIL_MAX + 3, pattern=_LINE),
    AfterValidator(_from_address),
    Field(
        description="Who the mails are from; the server's own address if null.",
        examples=["Shop <shop@example.com>"],
    ),
]

SubjectTemplate = Annotated[
    str,
    StringConstraints(max_length=_SUBJECT_MAX, pattern=_LINE),
    AfterValidator(_template),
    Field(
        description="The subject of the mails, with `{{form.name}}` and `{{field.NAME}}` for the "
        "form's name and the value of a field; a usual one if null.",
        examples=["New message from {{field.name}}"],
    ),
]

AutoresponseEnabled = Annotated[
    bool,
    Field(
        description="Whether a visitor who leaves one address in the field `email` is answered by "
        "mail, once a day at most."
    ),
]

AutoresponseSubject = Annotated[
    str,
    StringConstraints(max_length=_SUBJECT_MAX, pattern=_LINE),
    AfterValidator(_template),
    Field(
        description="The subject of that answer, with the same placeholders; a usual one if null.",
        examples=["Thank you, {{field.name}}"],
    ),
]

AutoresponseMessage = Annotated[
    str,
    StringConstraints(max_length=_MESSAGE_MAX, pattern=_TEXT),
    AfterValidator(_template),
    Field(
        description="What that answer says, as plain text with the same placeholders; usual words "
        "if null.",
        examples=["Hello {{field.name}},\n\nwe will be in touch within two days."],
    ),
]
