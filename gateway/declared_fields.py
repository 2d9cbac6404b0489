"""Whether a post fits the declared fields of its form.

A form's fields become rules once, at the first post under a document of the form; from then on a
post costs only the checks, each linear in the length of what it checks. Fields that are not
declared are not looked at. A field that fails is reported once, with the first thing that is wrong.

The codes are those that Formspree's client libraries show at a field; any other they would show
for the form as a whole.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from contracts.fields import ITEMS_MAX, DeclaredField, FieldType
from contracts.forms import FormConfig
from contracts.patterns import BadPattern
from contracts.problems import Problem, Rejected
from contracts.runtime.telemetry import get_logger
from gateway.bounded import RecentlyUsed
from gateway.field_values import Wrong, find_items, value_check
from gateway.staging import Upload
from gateway.upstream import unavailable

MISSING = "REQUIRED_FIELD_MISSING"
EMPTY = "REQUIRED_FIELD_EMPTY"
TEXT = "TYPE_TEXT"
_FORMS_MAX = 1_000
_SHOWN_MAX = 5
_UNTICKED = frozenset({"false", "off", "no", "0"})
_log = get_logger("gateway")

Payload = Mapping[str, str | list[str]]
Violation = dict[str, str]
"""An entry of a problem's ``errors``: ``field``, ``code``, ``message``."""


class DeclaredFields:
    """The rules of the forms that posts were sent to last."""

    def __init__(self) -> None:
        self._rules: RecentlyUsed[str, tuple[tuple[DeclaredField, ...], list[_Rule]]]
        self._rules = RecentlyUsed(_FORMS_MAX)

    def violations(
        self, form: FormConfig, payload: Payload, files: Sequence[Upload]
    ) -> list[Violation]:
        """What of the post does not fit, in the order of the declaration.

        Raises:
            Rejected: UNAVAILABLE, if a newer backend declares what this version cannot check.
        """
        uploads = Counter(file.field for file in files) if files else {}
        found = []
        for rule in self._rules_of(form):
            field = rule.field
            wrong = rule.judge(payload.get(field.name), uploads.get(field.name, 0))
            if wrong is not None:
                found.append({"field": field.name, "code": wrong[0], "message": wrong[1]})
        return found

    def _rules_of(self, form: FormConfig) -> list["_Rule"]:
        known = self._rules.use(form.id)
        # The document's own tuple: comparing it with an equal one would cost more than the checks.
        if known is not None and known[0] is form.fields:
            return known[1]
        try:
            rules = [_Rule(field) for field in form.fields]
        except BadPattern as error:
            _log.error("a form needs a newer gateway", form=form.id, error=str(error))
            raise unavailable("This form needs a newer gateway.") from error
        self._rules.put(form.id, (form.fields, rules))
        return rules


def refusal(form: FormConfig, violations: Sequence[Violation]) -> Rejected:
    """The refusal of a post that does not fit its form."""
    labels = {field.name: field.label or field.name for field in form.fields}
    shown = [f"{labels[one['field']]}: {one['message']}" for one in violations[:_SHOWN_MAX]]
    if len(violations) > _SHOWN_MAX:
        shown.append(f"And {len(violations) - _SHOWN_MAX} more.")
    return Rejected(Problem.VALIDATION_ERROR, " ".join(shown), errors=list(violations))


class _Rule:
    """One declared field, made ready."""

    def __init__(self, field: DeclaredField) -> None:
        """Raises BadPattern."""
        self.field = field
        self._is_file = field.type is FieldType.FILE
        self._is_tick = field.type is FieldType.CHECKBOX and not field.options
        self._check = value_check(field)

    def judge(self, value: str | list[str] | None, uploads: int) -> Wrong | None:
        """What is wrong with the field's values and uploaded files, if anything."""
        if self._is_file:
            return self._judge_files(value, uploads)
        if uploads:
            return TEXT, "This field takes no file."
        items = find_items(self.field, value)
        if self._is_tick and items and items[-1].lower() in _UNTICKED:
            items = []
        if not items:
            return self._absence(is_there=value is not None)
        wrong = self._judge_count(len(items), "value")
        if wrong is not None:
            return wrong
        return next((wrong for item in items if (wrong := self._check(item)) is not None), None)

    def _judge_files(self, value: Any, uploads: int) -> Wrong | None:
        # A browser that is not told to send multipart sends the file's name instead.
        if value and any(value) and not uploads:
            return TEXT, "Send the file itself: the form needs enctype=multipart/form-data."
        if not uploads:
            return self._absence(is_there=value is not None)
        return self._judge_count(uploads, "file")

    def _judge_count(self, count: int, what: str) -> Wrong | None:
        field = self.field
        if not field.multiple and count > 1:
            return TEXT, f"Only one {what} is possible."
        most = field.max_items or ITEMS_MAX
        if count > most:
            return TEXT, f"At most {most} {what}s are possible."
        return None

    def _absence(self, *, is_there: bool) -> Wrong | None:
        if not self.field.required:
            return None
        return (EMPTY if is_there else MISSING), "This field is required."
