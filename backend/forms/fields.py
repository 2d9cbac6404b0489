"""What the declaration of a form's fields may hold."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from backend.operations import Body
from backend.schemas import CONTROL_CHARACTERS, Label
from contracts.fields import (
    CONTROL_FIELDS,
    FIELDS_MAX,
    ITEMS_MAX,
    OPTIONS_MAX,
    DeclaredField,
    FieldType,
    is_date,
)
from contracts.pattern_syntax import PATTERN_MAX
from contracts.patterns import VALUE_MAX, BadPattern, Pattern

NAME_MAX_BYTES = 256
LENGTH_MAX = 65_536
# Entries of all the tables together, of two bytes each, that a form's patterns may become.
_PATTERNS_SIZE_MAX = 20_000

_TEXTS = frozenset({"text", "email", "url", "tel"})
_NUMBERS = frozenset({"number", "integer"})
_CHOICES = frozenset({"select", "radio"})
# Which types a limit is for; a limit of another type would say nothing, or something else.
_TYPES_OF = {
    "min_length": _TEXTS,
    "max_length": _TEXTS,
    "pattern": _TEXTS,
    "min": _NUMBERS | {"date"},
    "max": _NUMBERS | {"date"},
    "options": _CHOICES | {"checkbox"},
    "multiple": frozenset({kind.value for kind in FieldType} - {"radio"}),
}


def _field_name(name: str) -> str:
    if len(name.encode()) > NAME_MAX_BYTES:
        raise PydanticCustomError("too_long", "A field name has 256 bytes at most.")
    if name in CONTROL_FIELDS:
        raise PydanticCustomError("control_field", "A field of this name is never stored.")
    return name


Limit = int | Annotated[float, Field(allow_inf_nan=False)] | str | None


class FormField(Body):
    """A declared field."""

    name: str = Field(description="The name of the input.", examples=["email"])
    type: Literal[
        "text",
        "email",
        "url",
        "tel",
        "number",
        "integer",
        "date",
        "checkbox",
        "select",
        "radio",
        "file",
    ] = Field("text", description="By the names of HTML; a text area is `text`.")
    label: Label | None = Field(None, description="What people call it, for messages.")
    required: bool = Field(False, description="It must be there and not be empty.")
    min_length: int | None = Field(None, ge=0, le=LENGTH_MAX, description="Characters at least.")
    max_length: int | None = Field(None, ge=1, le=LENGTH_MAX, description="Characters at most.")
    min: Limit = Field(None, description="The least number, or the first date.")
    max: Limit = Field(None, description="The greatest number, or the last date.")
    pattern: str | None = Field(
        None,
        min_length=1,
        max_length=PATTERN_MAX,
        description="What the whole value must match: a regular expression of JavaScript's "
        "without looking around and back-references.",
        examples=["[0-9]{5}"],
    )
    options: list[Annotated[str, StringConstraints(min_length=1, max_length=200)]] = Field(
        [], max_length=OPTIONS_MAX, description="The values to choose from."
    )
    multiple: bool = Field(False, description="Whether it may have several values, or files.")
    max_items: int | None = Field(
        None, ge=1, le=ITEMS_MAX, description="Values at most, with `multiple`."
    )


class DeclareField(FormField):
    """A field to declare."""

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=256, pattern=f"^[^{CONTROL_CHARACTERS}]+$"),
        AfterValidator(_field_name),
        Field(description="The name of the input.", examples=["email"]),
    ]

    @model_validator(mode="after")
    def _fits_together(self) -> "DeclareField":
        for limit, types in _TYPES_OF.items():
            if self.type not in types and _is_said(getattr(self, limit)):
                raise _bad(f"{limit} is for {', '.join(sorted(types))}, not for {self.type}.")
        _check_bounds(self)
        _check_choices(self)
        _check_pattern(self)
        return self


def _is_said(value: object) -> bool:
    return value is not None and value is not False and value != []


def _check_bounds(field: FormField) -> None:
    least, most = field.min_length, field.max_length
    if least is not None and most is not None and least > most:
        raise _bad("min_length is more than max_length.")
    bounds = [bound for bound in (field.min, field.max) if bound is not None]
    if field.type == "date":
        is_good = all(isinstance(bound, str) and is_date(bound) for bound in bounds)
        kind = "dates as 2026-06-30"
    else:
        is_good = not any(isinstance(bound, str) for bound in bounds)
        kind = "numbers"
    if not is_good:
        raise _bad(f"min and max of {field.type} are {kind}.")
    if len(bounds) == 2 and bounds != sorted(bounds):
        raise _bad("min is more than max.")


def _check_choices(field: FormField) -> None:
    if field.type in _CHOICES and not field.options:
        raise _bad(f"A {field.type} needs its options.")
    if len(set(field.options)) < len(field.options):
        raise _bad("An option is there twice.")
    if field.type == "checkbox" and field.multiple and not field.options:
        raise _bad("A group of checkboxes needs its options.")
    if field.max_items is not None and not field.multiple:
        raise _bad("max_items is for a field with multiple.")


def _check_pattern(field: FormField) -> None:
    if field.pattern is None:
        return
    if (field.max_length or 0) > VALUE_MAX or (field.min_length or 0) > VALUE_MAX:
        raise _bad(f"With a pattern, a value has {VALUE_MAX} characters at most.")
    try:
        Pattern(field.pattern)
    except BadPattern as error:
        raise _bad(f"pattern: {error}") from None


def _bad(message: str) -> PydanticCustomError:
    return PydanticCustomError("bad_field", "{message}", {"message": message})


def _together(declared: list[DeclareField]) -> list[DeclareField]:
    if len({field.name for field in declared}) < len(declared):
        raise PydanticCustomError("duplicate_field", "A name is declared twice.")
    patterns = [field.pattern for field in declared if field.pattern is not None]
    if sum(Pattern(pattern).size for pattern in patterns) > _PATTERNS_SIZE_MAX:
        raise PydanticCustomError("too_large", "The patterns are too large together.")
    return declared


Fields = Annotated[
    list[DeclareField],
    Field(
        max_length=FIELDS_MAX,
        description="The fields that a post is expected to have. Others are stored as they come.",
        examples=[[{"name": "email", "type": "email", "required": True}]],
    ),
    AfterValidator(_together),
]

Enforce = Annotated[
    bool,
    Field(description="Whether a post that does not fit `fields` is refused."),
]


def form_field(field: DeclaredField) -> FormField:
    """The answer for a declared field."""
    return FormField(
        name=field.name,
        type=field.type.value,
        label=field.label,
        required=field.required,
        min_length=field.min_length,
        max_length=field.max_length,
        min=field.min,
        max=field.max,
        pattern=field.pattern,
        options=list(field.options),
        multiple=field.multiple,
        max_items=field.max_items,
    )
