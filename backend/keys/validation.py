"""Whether the terms of a key make sense together, and name what exists."""

from collections.abc import Mapping
from typing import Any

from backend.access import Principal
from backend.answers import invalid
from backend.db import Connection
from backend.environments.store import list_environments
from backend.keys.store import KeyRow, forms_within
from backend.keys.terms import PRODUCTION, SCOPED, inherited
from backend.plans.catalogue import Plan
from contracts.keys import KeyKind

_DAY_MS = 24 * 3600 * 1000
TEST_KEY_MS = 7 * _DAY_MS
# Two years of the calendar have a leap day at times.
LIFE_MS = (2 * 365 + 1) * _DAY_MS


def completed_terms(
    principal: Principal, kind: KeyKind, named: Mapping[str, Any], now_ms: int
) -> dict[str, Any]:
    """The terms of a new key: those named, else its creator's, and the end of a test key."""
    terms = inherited(principal, kind) | dict(named)
    if kind is KeyKind.TEST and named.get("expires_at") is None:
        ends_at = now_ms + TEST_KEY_MS
        terms["expires_at"] = min(principal.expires_at or ends_at, ends_at)
    return terms


def check_terms(key: KeyRow, before: KeyRow | None, plan: Plan, now_ms: int) -> None:
    """Whether a key of this kind can have these terms; ``before`` it was changed, if it was.

    Raises:
        Rejected: VALIDATION_ERROR.
    """
    if key.kind in SCOPED and not key.scopes:
        raise invalid("scopes", "missing", f"A {key.kind} key needs at least one scope.")
    if key.kind == KeyKind.SUBMISSION.value and key.scopes is not None:
        raise invalid("scopes", "not_allowed", "A submission key has no scopes: it posts.")
    if key.kind == KeyKind.LIVE.value and key.environment != PRODUCTION:
        raise invalid("environment", "not_allowed", "Live keys belong to production.")
    limit = key.rate_limit_per_minute
    is_named = before is None or limit != before.rate_limit_per_minute
    if is_named and limit is not None and limit > plan.requests_per_minute:
        most = plan.requests_per_minute
        raise invalid(
            "rate_limit_per_minute", "too_large", f"The plan allows {most} requests a minute."
        )
    _check_end(key, now_ms)


def _check_end(key: KeyRow, now_ms: int) -> None:
    is_test = key.kind == KeyKind.TEST.value
    if key.expires_at is None:
        if is_test:
            raise invalid("expires_at", "missing", "A test key expires after 7 days at most.")
        return
    if key.expires_at <= now_ms:
        raise invalid("expires_at", "past", "Name a time to come.")
    if is_test and key.expires_at > key.created_at + TEST_KEY_MS:
        raise invalid("expires_at", "too_late", "A test key lives 7 days at most.")
    if key.expires_at > now_ms + LIFE_MS:
        raise invalid("expires_at", "too_late", "A key lives two years at most.")


async def check_references(
    connection: Connection, principal: Principal, key: KeyRow, before: KeyRow | None
) -> None:
    """Whether the forms and the environment that the key names anew exist, for the principal.

    Raises:
        Rejected: VALIDATION_ERROR.
    """
    if key.environment is not None and not await list_environments(
        connection, key.account_id, key.environment
    ):
        raise invalid("environment", "unknown", "The account has no such environment.")
    named_before = set((before.allowed_forms if before else None) or ())
    named = [form_id for form_id in key.allowed_forms or () if form_id not in named_before]
    if not named:
        return
    known = await forms_within(connection, key.account_id, principal.reach, named)
    for form_id in named:
        if form_id not in known:
            place = (key.allowed_forms or ()).index(form_id)
            raise invalid(f"allowed_forms.{place}", "unknown", "There is no such form.")
