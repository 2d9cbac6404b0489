"""The cached reject: accounts whose monthly quota is known to be used up.

The backend's commit decides. What it has refused once is refused from memory from then on, until
the month ends or the feed brings a change of one of the account's forms. While some of the quota
is on lease at other gateways it is refused for a few seconds only: it may be given back.
"""

from dataclasses import dataclass

from contracts.forms import FormConfig, QuotaState
from contracts.internal import ChangesAnswer
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import Clock, iso
from gateway.bounded import RecentlyUsed

_ON_LEASE_SECONDS = 10.0
# Of one that is pushed out, the next post asks the commit again.
_ACCOUNTS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _UsedUp:
    """A quota that is used up; ``until`` is of the monotonic clock, in seconds."""

    state: QuotaState
    until: float


class QuotaCache:
    """Quotas that are used up, of the accounts that posted most recently."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used_up = _table()

    def is_used_up(self, form: FormConfig) -> bool:
        """Whether the quota of the form's account is known to be used up."""
        return self._find(form) is not None

    def check(self, form: FormConfig) -> None:
        """Raises Rejected(QUOTA_EXCEEDED)."""
        state = self._find(form)
        if state is not None:
            raise quota_exceeded(state)

    def learn(self, form: FormConfig, state: QuotaState) -> None:
        """Takes over what a commit has said."""
        is_final = state.used >= state.limit
        until = float("inf") if is_final else self._clock.monotonic() + _ON_LEASE_SECONDS
        self._used_up.put(form.account_id, _UsedUp(state, until))

    def apply(self, changes: ChangesAnswer) -> None:
        """A changed form may have a new plan: the next commit says."""
        if changes.is_reset:
            self._used_up = _table()
        for form in changes.forms.values():
            if form is not None:
                self._used_up.discard(form.account_id)

    def _find(self, form: FormConfig) -> QuotaState | None:
        held = None if form.is_test else self._used_up.use(form.account_id)
        if held is None:
            return None
        is_over = self._clock.now_ms() >= held.state.resets_at
        if is_over or self._clock.monotonic() >= held.until:
            self._used_up.discard(form.account_id)
            return None
        return held.state


def _table() -> RecentlyUsed[str, _UsedUp]:
    return RecentlyUsed(_ACCOUNTS_MAX)


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
