"""The cached reject: accounts whose monthly quota is known to be used up.

The backend's commit decides. What it has refused once is refused from memory from then on, until
the month ends or the feed brings a change of one of the account's forms.
"""

from contracts.forms import FormConfig, QuotaState
from contracts.internal import ChangesAnswer
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock, iso


class QuotaCache:
    """Quotas that are used up, by account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used_up: dict[str, QuotaState] = {}

    def is_used_up(self, form: FormConfig) -> bool:
        """Whether the quota of the form's account is known to be used up."""
        state = self._used_up.get(form.account_id)
        if state is None or form.is_test:
            return False
        if self._clock.now_ms() >= state.resets_at:
            del self._used_up[form.account_id]
            return False
        return True

    def check(self, form: FormConfig) -> None:
        """Raises Rejected(QUOTA_EXCEEDED)."""
        if self.is_used_up(form):
            raise quota_exceeded(self._used_up[form.account_id])

    def learn(self, form: FormConfig, state: QuotaState) -> None:
        """Takes over what a commit has said."""
        self._used_up[form.account_id] = state

    def apply(self, changes: ChangesAnswer) -> None:
        """A changed form may have a new plan: the next commit says."""
        if changes.is_reset:
            self._used_up.clear()
        for form in changes.forms.values():
            if form is not None:
                self._used_up.pop(form.account_id, None)


def quota_exceeded(state: QuotaState) -> Rejected:
    """The refusal of a post beyond the quota."""
    resets_at = iso(state.resets_at)
    return Rejected(
        Problem.QUOTA_EXCEEDED,
        f"This form's account has used its {state.limit} submissions of this month. It takes "
        f"submissions again from {resets_at}, or when its owner chooses a larger plan.",
        limit=state.limit,
        used=state.used,
        resets_at=resets_at,
    )
