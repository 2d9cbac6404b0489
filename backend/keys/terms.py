"""What a key may: its rights, its reach, and that nobody gives a key more than they have."""

from enum import Enum
from ipaddress import IPv4Network, ip_network
from typing import Any

from backend.access import EVERYTHING, RIGHTS, Principal, Reach
from backend.caller import Caller
from backend.keys.store import KeyRow
from contracts.addresses import Network
from contracts.forms import KeyRestrictions
from contracts.keys import KeyKind
from contracts.problems import Problem, Rejected

POSTING = "submissions:write"
"""The right that lets a scoped key post at ingest."""
PRODUCTION = "production"
"""The environment of every live key."""
SCOPED = frozenset({KeyKind.LIVE.value, KeyKind.TEST.value})
"""The kinds that may what their scopes say, and nothing without one."""


class KeyStatus(Enum):
    """Whether a key is in force. One in grace is, until it expires: another has replaced it."""

    ACTIVE = "active"
    GRACE = "grace"
    EXPIRED = "expired"
    REVOKED = "revoked"


def status_of(key: KeyRow, now_ms: int) -> KeyStatus:
    """The key's status."""
    if key.revoked_at is not None:
        return KeyStatus.REVOKED
    if key.expires_at is not None and now_ms >= key.expires_at:
        return KeyStatus.EXPIRED
    return KeyStatus.ACTIVE if key.replaced_by is None else KeyStatus.GRACE


def rights_of(key: KeyRow) -> frozenset[str]:
    """The key's rights in the management API."""
    if key.scopes is not None:
        return frozenset(key.scopes)
    return RIGHTS if key.kind == KeyKind.MANAGEMENT.value else frozenset()


def may_post(kind: str, scopes: tuple[str, ...] | None) -> bool:
    """Whether such a key may post at ingest."""
    return kind == KeyKind.SUBMISSION.value or (kind in SCOPED and POSTING in (scopes or ()))


def reach_of(key: KeyRow) -> Reach:
    """The forms that the key sees."""
    is_sandbox = key.kind == KeyKind.TEST.value
    if key.environment is None and key.allowed_forms is None and not is_sandbox:
        return EVERYTHING
    forms = None if key.allowed_forms is None else frozenset(key.allowed_forms)
    return Reach(key.environment, forms, is_sandbox)


def restrictions_of(key: KeyRow) -> KeyRestrictions:
    """What a gateway has to check of the key with every post."""
    return KeyRestrictions(
        key.allowed_ips,
        key.allowed_forms,
        key.environment,
        key.kind == KeyKind.TEST.value,
        key.expires_at,
    )


def principal_of(key: KeyRow, caller: Caller) -> Principal:
    """Who calls with the key."""
    return Principal(
        key.account_id,
        key.id,
        rights_of(key),
        reach_of(key),
        caller,
        key.rate_limit_per_minute,
        key.burst,
        key.allowed_ips,
        key.expires_at,
    )


def is_visible(principal: Principal, key: KeyRow) -> bool:
    """Whether a key of the account exists for the principal: one that reaches further does not."""
    return key.id == principal.key_id or principal.reach.contains(reach_of(key))


def inherited(principal: Principal, kind: KeyKind) -> dict[str, Any]:
    """The terms of a new key that names none: its creator's own."""
    reach = principal.reach
    return {
        "environment": PRODUCTION if kind is KeyKind.LIVE else reach.environment,
        "allowed_ips": principal.allowed_ips,
        "allowed_forms": None if reach.form_ids is None else tuple(sorted(reach.form_ids)),
        "rate_limit_per_minute": principal.requests_per_minute,
        "burst": principal.burst,
        "expires_at": principal.expires_at,
    }


def check_no_more(principal: Principal, key: KeyRow) -> None:
    """Whether the key may nothing that the principal may not, and for no longer.

    Raises:
        Rejected: INSUFFICIENT_SCOPE, which names the missing ``scope``, or the ``member`` in which
            the key goes further.
    """
    granted = rights_of(key) | ({POSTING} if may_post(key.kind, key.scopes) else set())
    lacking = sorted(granted - principal.rights)
    if lacking:
        raise Rejected(
            Problem.INSUFFICIENT_SCOPE,
            f"A key may get no scope that the credential lacks: {', '.join(lacking)}.",
            scope=lacking[0],
        )
    member = _wider_member(principal, key)
    if member is not None:
        raise Rejected(
            Problem.INSUFFICIENT_SCOPE,
            f"A key may not go further than the credential: its {member} would.",
            member=member,
        )


def _wider_member(principal: Principal, key: KeyRow) -> str | None:
    """The first member in which the key goes further than the principal."""
    reach, of_key = principal.reach, reach_of(key)
    within = {
        "kind": of_key.is_sandbox or not reach.is_sandbox,
        "environment": reach.environment in (None, of_key.environment),
        "allowed_forms": Reach(form_ids=reach.form_ids).contains(of_key),
        "allowed_ips": _are_within(key.allowed_ips, principal.allowed_ips),
        "expires_at": _is_at_most(key.expires_at, principal.expires_at),
        "rate_limit_per_minute": _is_at_most(
            key.rate_limit_per_minute, principal.requests_per_minute
        ),
        "burst": _is_at_most(key.burst, principal.burst),
    }
    return next((member for member, holds in within.items() if not holds), None)


def _is_at_most(value: int | None, limit: int | None) -> bool:
    return limit is None or (value is not None and value <= limit)


def _are_within(inner: tuple[str, ...] | None, outer: tuple[str, ...] | None) -> bool:
    if outer is None:
        return True
    networks = [ip_network(text) for text in outer]
    return inner is not None and all(
        any(_is_subnet(ip_network(text), network) for network in networks) for text in inner
    )


def _is_subnet(inner: Network, outer: Network) -> bool:
    if isinstance(inner, IPv4Network):
        return isinstance(outer, IPv4Network) and inner.subnet_of(outer)
    return not isinstance(outer, IPv4Network) and inner.subnet_of(outer)
