"""The declared fields of a form as rows of inputs, which a browser without a script can edit: what
belongs to the row 3 is sent as ``name-3``, ``type-3`` and so on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from starlette.datastructures import FormData

from backend.answers import invalid
from backend.console.forms.sections import whole_or_text
from backend.console.visits import Fault
from backend.forms.fields import FormField

ROWS_MAX = 40
"""More would make a page that nobody finds their way on."""
_BY_VALUE = frozenset({"number", "integer", "date"})
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,3})?")
_MOVES = {"up": -1, "down": 1}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One row, as it is typed. ``least`` and ``most`` are characters for a text, and values for
    numbers and dates. ``options`` are lines."""

    name: str = ""
    type: str = "text"
    label: str = ""
    required: bool = False
    least: str = ""
    most: str = ""
    pattern: str = ""
    options: str = ""
    multiple: bool = False
    max_items: str = ""

    @property
    def has_limits(self) -> bool:
        """Whether anything is said beyond what every field has."""
        return self != FieldRow(self.name, self.type, self.label, self.required)


def rows_of(fields: Sequence[FormField]) -> list[FieldRow]:
    """The rows that show these fields."""
    return [
        FieldRow(
            name=field.name,
            type=field.type,
            label=field.label or "",
            required=field.required,
            least=_typed(field.min if field.type in _BY_VALUE else field.min_length),
            most=_typed(field.max if field.type in _BY_VALUE else field.max_length),
            pattern=field.pattern or "",
            options="\n".join(field.options),
            multiple=field.multiple,
            max_items=_typed(field.max_items),
        )
        for field in fields
    ]


def sent_rows(form: FormData) -> list[FieldRow]:
    """The rows that a browser sends, without those that are empty."""
    rows = [_sent_row(form, number) for number in range(ROWS_MAX) if f"name-{number}" in form]
    return [row for row in rows if row != FieldRow(type=row.type)]


def changed_rows(rows: Sequence[FieldRow], act: str) -> tuple[list[FieldRow], int | None]:
    """The rows with one more (``add``), less (``remove-3``) or elsewhere (``up-3``, ``down-3``),
    and the number of the one to go on with. What is none of these changes nothing."""
    verb, _, number = act.partition("-")
    changed, at = list(rows), int(number) if number.isdecimal() and len(number) < 4 else -1
    if verb == "add" and len(rows) < ROWS_MAX:
        return [*rows, FieldRow()], len(rows)
    if not 0 <= at < len(rows):
        return changed, None
    if verb == "remove":
        del changed[at]
        return changed, min(at, len(changed) - 1) if changed else None
    to = at + _MOVES.get(verb, 0)
    if 0 <= to < len(rows):
        changed.insert(to, changed.pop(at))
    return changed, to


def documents_of(rows: Sequence[FieldRow]) -> list[dict[str, Any]]:
    """The fields as the API takes them. What was typed and is no number goes there as it is."""
    return [_document(row) for row in rows]


def is_shown_whole(fields: Sequence[FormField]) -> bool:
    """Whether rows can hold all that is said of the fields: an option of two lines, for one, would
    become two options."""
    return len(fields) <= ROWS_MAX and documents_of(rows_of(fields)) == _brief(fields)


def printed(fields: Sequence[FormField]) -> str:
    """The fields as JSON, without what goes without saying."""
    return orjson.dumps(_brief(fields), option=orjson.OPT_INDENT_2).decode()


def parsed(json: str) -> Any:
    """What a JSON text says; nothing declares nothing. Raises Rejected(VALIDATION_ERROR)."""
    try:
        return orjson.loads(json) if json else []
    except orjson.JSONDecodeError as error:
        raise invalid("fields_json", "bad_json", f"This is not valid JSON: {error}.") from None


def faults_of_rows(fault: Fault, count: int) -> Mapping[int, Sequence[str]]:
    """What is wrong with each of ``count`` rows, by its number."""
    found: dict[int, list[str]] = {}
    for path, message in fault.of.items():
        member, _, inner = path.partition(".")
        number, _, what = inner.partition(".")
        if member == "fields" and number.isdecimal() and int(number) < count:
            said = f"{what.replace('_', ' ').capitalize()}: {message}" if what else message
            found.setdefault(int(number), []).append(said)
    return found


def _sent_row(form: FormData, number: int) -> FieldRow:
    typed = {name: str(form.get(f"{name}-{number}", "")) for name in asdict(FieldRow())}
    lines = [line.strip() for line in typed["options"].splitlines()]
    return FieldRow(
        name=typed["name"].strip(),
        type=typed["type"],
        label=typed["label"].strip(),
        required=f"required-{number}" in form,
        least=typed["least"].strip(),
        most=typed["most"].strip(),
        pattern=typed["pattern"],
        options="\n".join(filter(None, lines)),
        multiple=f"multiple-{number}" in form,
        max_items=typed["max_items"].strip(),
    )


def _document(row: FieldRow) -> dict[str, Any]:
    by_value = row.type in _BY_VALUE
    said = {
        "label": row.label,
        "required": row.required,
        "min" if by_value else "min_length": _limit(row.type, row.least),
        "max" if by_value else "max_length": _limit(row.type, row.most),
        "pattern": row.pattern,
        "options": row.options.split("\n") if row.options else [],
        "multiple": row.multiple,
        "max_items": whole_or_text(row.max_items),
    }
    # Zero is a limit, and equal to False.
    return {"name": row.name, "type": row.type} | {
        name: value for name, value in said.items() if value is not False and value not in ("", [])
    }


def _limit(kind: str, text: str) -> int | float | str:
    number = whole_or_text(text)
    if kind == "number" and isinstance(number, str) and _NUMBER.fullmatch(text):
        return float(text)
    return number


def _brief(fields: Sequence[FormField]) -> list[dict[str, Any]]:
    return [
        {"name": field.name, "type": field.type} | field.model_dump(exclude_defaults=True)
        for field in fields
    ]


def _typed(value: object) -> str:
    return "" if value is None else str(value)
