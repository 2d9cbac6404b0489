"""What is to become of each submission of a batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backend.internal.idempotency import Bound, FormKey
from backend.internal.posting_keys import PostingKey
from backend.internal.quota import Ledger
from contracts.forms import FormStatus
from contracts.problems import Problem
from contracts.submissions import ItemResult, ItemStatus, Submission, SubmissionStatus


@dataclass(frozen=True, slots=True)
class Known:
    """The submission that an id stands for: its own, or that of which it is an alias."""

    submission_id: str
    received_at: int


class Judge:
    """Decides item by item, in order: what one item takes, the next one finds taken.

    ``accepted`` are the submissions to store, each with the units it costs; ``aliases`` the
    promised ids which turned out to be replays, each with the submission it stands for.
    """

    def __init__(
        self,
        *,
        forms: Mapping[str, Any],
        keys: Mapping[str, PostingKey],
        bound: dict[FormKey, Bound],
        ledger: Ledger,
        find_known: Callable[[], dict[str, Known]],
        looks_for_known: bool,
        now_ms: int,
    ) -> None:
        """``find_known`` looks for the ids of the batch. It is called at once, or before the first
        refusal: what is stored already is not refused, whatever has become of form and quota."""
        self._forms = forms
        self._keys = keys
        self._now_ms = now_ms
        self._bound = bound
        self._ledger = ledger
        self._find_known: Callable[[], dict[str, Known]] | None = find_known
        self._known: dict[str, Known] = {}
        self.accepted: list[tuple[Submission, int]] = []
        self.aliases: dict[str, Known] = {}
        if looks_for_known:
            self._look_for_known()

    def decide(self, item: Submission) -> ItemResult:
        """The result of one item; an accepted one joins ``accepted``."""
        result = self._replay_of_known(item) or self._decide_anew(item)
        if result.status is ItemStatus.REJECTED and self._find_known is not None:
            self._look_for_known()
            return self._replay_of_known(item) or result
        return result

    def _look_for_known(self) -> None:
        if self._find_known is not None:
            self._known = self._find_known() | self._known
            self._find_known = None

    def _replay_of_known(self, item: Submission) -> ItemResult | None:
        known = self._known.get(item.id)
        if known is None:
            return None
        return ItemResult(ItemStatus.REPLAYED, known.submission_id, known.received_at)

    def _decide_anew(self, item: Submission) -> ItemResult:
        form: Any = self._forms.get(item.form_id)
        problem = self._refusal(item, form)
        if problem is not None:
            return _rejected(item, problem)
        key = form_key(item)
        first = self._bound.get(key) if key is not None else None
        if first is not None:
            return self._replay_of_key(item, first, is_strict=form.idempotency_strict)
        return self._accept(item, form, key)

    def _refusal(self, item: Submission, form: Any) -> Problem | None:
        if form is None:
            return Problem.FORM_NOT_FOUND
        if form.status != FormStatus.LIVE.value and not item.is_promised:
            return Problem.FORM_NOT_LIVE
        if item.key_id is not None and not self._may_store(item, form):
            return Problem.INVALID_KEY
        return None

    def _may_store(self, item: Submission, form: Any) -> bool:
        """Whether the item's key is the account's and good, or was when the promise was made."""
        key = self._keys.get(item.key_id or "")
        if key is None or key.account_id != form.account_id:
            return False
        if item.is_promised:
            return key.was_good_at(item.received_at)
        return key.may_post_to(form, self._now_ms)

    def _replay_of_key(self, item: Submission, first: Bound, *, is_strict: bool) -> ItemResult:
        is_mismatch = first.fingerprint != (item.fingerprint or "")
        if is_mismatch and is_strict and not item.is_promised:
            return _rejected(item, Problem.IDEMPOTENCY_MISMATCH)
        if item.is_promised and item.id != first.submission_id:
            known = Known(first.submission_id, first.received_at)
            self._known[item.id] = self.aliases[item.id] = known
        return ItemResult(
            ItemStatus.REPLAYED, first.submission_id, first.received_at, is_mismatch=is_mismatch
        )

    def _accept(self, item: Submission, form: Any, key: FormKey | None) -> ItemResult:
        charge = 0
        if item.status != SubmissionStatus.SPAM.value and form.mode != "test":
            charge = 1
            quota = self._ledger.charge(
                form.account_id, item.lease_id, is_promised=item.is_promised
            )
            if quota is not None:
                problem = Problem.QUOTA_EXCEEDED.slug
                return ItemResult(
                    ItemStatus.REJECTED, item.id, item.received_at, problem, quota=quota
                )
        self._known[item.id] = Known(item.id, item.received_at)
        if key is not None:
            self._bound[key] = Bound(item.id, item.fingerprint or "", item.received_at)
        self.accepted.append((item, charge))
        return ItemResult(ItemStatus.STORED, item.id, item.received_at)


def form_key(item: Submission) -> FormKey | None:
    """The item's idempotency key within its form."""
    return None if item.idempotency_key is None else (item.form_id, item.idempotency_key)


def _rejected(item: Submission, problem: Problem) -> ItemResult:
    return ItemResult(ItemStatus.REJECTED, item.id, item.received_at, problem.slug)
