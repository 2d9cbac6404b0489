"""The keys of a batch, as its commit judges them."""

from dataclasses import dataclass
from typing import Any

import orjson

from backend.access import Reach
from backend.keys.terms import may_post
from contracts.keys import KeyKind


@dataclass(frozen=True, slots=True)
class PostingKey:
    """A key that a batch names. ``is_for_posts`` says whether its kind and scopes let it post at
    all; times are Unix milliseconds."""

    account_id: str
    is_for_posts: bool
    reach: Reach
    revoked_at: int | None
    expires_at: int | None

    def may_post_to(self, form: Any, now_ms: int) -> bool:
        """Whether the key may post to a form of its account now."""
        return (
            self.revoked_at is None
            and (self.expires_at is None or now_ms < self.expires_at)
            and self.is_for_posts
            and self.reach.has_form(form.id, form.environment, form.mode)
        )

    def was_good_at(self, at_ms: int) -> bool:
        """Whether the key was in force then."""
        return (self.revoked_at is None or at_ms < self.revoked_at) and (
            self.expires_at is None or at_ms < self.expires_at
        )


def posting_key(row: Any) -> PostingKey:
    """The key of a row with its JSON lists as text."""
    scopes = None if row.scopes is None else tuple(orjson.loads(row.scopes))
    forms = None if row.allowed_forms is None else frozenset(orjson.loads(row.allowed_forms))
    return PostingKey(
        row.account_id,
        may_post(row.kind, scopes),
        Reach(row.environment, forms, row.kind == KeyKind.TEST.value),
        row.revoked_at,
        row.expires_at,
    )
