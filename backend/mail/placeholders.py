"""Templates that owners write: plain text with ``{{form.name}}`` and ``{{field.NAME}}``."""

import re
from collections.abc import Callable, Mapping

Payload = Mapping[str, str | list[str]]
"""What a submission holds: the value of each field, or the values of a repeated one."""

_PLACEHOLDER = re.compile(r"\{\{([^{}]*)\}\}")
_FORM_NAME = "form.name"
_FIELD = "field."


def is_template(text: str) -> bool:
    """Whether every placeholder in it is one of those that there are, and no brace is left over."""
    names = [name.strip() for name in _PLACEHOLDER.findall(text)]
    rest = _PLACEHOLDER.sub("", text)
    return all(map(_is_known, names)) and "{{" not in rest and "}}" not in rest


def filled(template: str, form_name: str, payload: Payload, shown: Callable[[str], str]) -> str:
    """The template with values in place of its placeholders, once: what looks like a placeholder
    in a value stays as it is. A visitor's value, those of a repeated field with commas between
    them, passes through ``shown``; a field that is not there leaves nothing."""

    def value_of(match: re.Match[str]) -> str:
        name = match[1].strip()
        if name == _FORM_NAME:
            return form_name
        value = payload.get(name.removeprefix(_FIELD), "")
        return shown(value if isinstance(value, str) else ", ".join(value))

    return _PLACEHOLDER.sub(value_of, template)


def _is_known(name: str) -> bool:
    return name == _FORM_NAME or (name.startswith(_FIELD) and len(name) > len(_FIELD))
