"""What a form's members on mail may hold."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from backend.schemas import CONTROL_CHARACTERS

RECIPIENTS_MAX = 20
ADDRESS_MAX = 254
_SUBJECT_MAX = 200
_NAME_MAX = 100
# "A valid e-mail address" of HTML: what may stand in a header as it is.
_ADDRESS = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_NAMED_ADDRESS = re.compile(r'([^<>"]+) <([^<> ]+)>')
_LINE = f"^[^{CONTROL_CHARACTERS}]+$"
_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
_FIELD = "field."


def is_address(text: str) -> bool:
    """Whether it is one e-mail address, without a name."""
    return len(text) <= ADDRESS_MAX and _ADDRESS.fullmatch(text) is not None


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


def _from_address(text: str) -> str:
    named = _NAMED_ADDRESS.fullmatch(text)
    address = named[2] if named else text
    if not is_address(address) or (named and len(named[1]) > _NAME_MAX):
        raise PydanticCustomError(
            "bad_address", "Give an e-mail address, or a name with it: Shop <shop@example.com>"
        )
    return text


def _subject_template(text: str) -> str:
    rest = _PLACEHOLDER.sub("", text)
    names = [name.strip() for name in _PLACEHOLDER.findall(text)]
    is_known = all(_is_placeholder(name) for name in names)
    if not is_known or "{{" in rest or "}}" in rest:
        raise PydanticCustomError(
            "bad_placeholder", "Placeholders are {{form.name}} and {{field.NAME}}."
        )
    return text


def _is_placeholder(name: str) -> bool:
    return name == "form.name" or (name.startswith(_FIELD) and len(name) > len(_FIELD))


NotifyEmails = Annotated[
    str,
    StringConstraints(max_length=RECIPIENTS_MAX * (ADDRESS_MAX + 2)),
    AfterValidator(_notify_emails),
    Field(
        description="Who is told of a submission: e-mail addresses with commas between them. By "
        "default the account owner's; if empty, nobody.",
        examples=["ada@example.com,sales@example.com"],
    ),
]

FromAddress = Annotated[
    str,
    StringConstraints(max_length=_NAME_MAX + ADDRESS_MAX + 3, pattern=_LINE),
    AfterValidator(_from_address),
    Field(
        description="Who the mails are from; the server's own address if null.",
        examples=["Shop <shop@example.com>"],
    ),
]

SubjectTemplate = Annotated[
    str,
    StringConstraints(max_length=_SUBJECT_MAX, pattern=_LINE),
    AfterValidator(_subject_template),
    Field(
        description="The subject of the mails, with `{{form.name}}` and `{{field.NAME}}` for the "
        "form's name and the value of a field; a usual one if null.",
        examples=["New message from {{field.name}}"],
    ),
]
