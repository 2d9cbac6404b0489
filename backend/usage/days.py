"""What a commit stored, by account, day and form.

A submission counts on the day of its ``received_at``, in UTC, also if it was promised and stored
later: counts and rows can then be compared, whatever crashed in between.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from backend.transaction import Transaction
from backend.usage.store import FormDay, add_to_days
from contracts.probes import is_probe
from contracts.submissions import Submission, SubmissionStatus
from contracts.usage import day_of

_SPAM = SubmissionStatus.SPAM.value
_HELD = SubmissionStatus.HELD.value
_SUBMISSIONS, _SPAM_AT, _HELD_AT, _TEST, _FILE_BYTES, _PROBES = range(len(FormDay._fields))


def count_stored(
    transaction: Transaction, accepted: Iterable[tuple[Submission, int]], forms: Mapping[str, Any]
) -> None:
    """Adds the submissions of a commit to the days of their ``forms``, which have ``account_id``
    and ``mode``. The last thing that a commit does: its rows are held to the end."""
    days: dict[tuple[str, str, str], list[int]] = {}
    for item, _ in accepted:
        form = forms[item.form_id]
        key = (form.account_id, day_of(item.received_at), item.form_id)
        counts = days.get(key)
        if counts is None:
            counts = days[key] = [0] * len(FormDay._fields)
        if form.mode == "test":
            counts[_TEST] += 1
        elif item.status == _SPAM:
            counts[_SPAM_AT] += 1
        else:
            counts[_SUBMISSIONS] += 1
            if item.status == _HELD:
                counts[_HELD_AT] += 1
            if is_probe(item.meta):
                counts[_PROBES] += 1
        for file in item.files:
            counts[_FILE_BYTES] += file.size
    if days:
        # In the order of their keys, so that commits at once do not wait for each other in a ring.
        add_to_days(transaction, [_row(key, days[key]) for key in sorted(days)])


def _row(key: tuple[str, str, str], counts: list[int]) -> dict[str, Any]:
    account_id, day, form_id = key
    names = {"account_id": account_id, "day": day, "form_id": form_id}
    return names | dict(zip(FormDay._fields, counts, strict=True))
