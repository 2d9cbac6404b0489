"""Roles: presets of permissions. A permission is a right of ``backend.access``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backend.access import RIGHTS

OWNER = "owner"
CUSTOM = "custom"
"""The role of a member with an explicit list of permissions."""

_VIEWER = frozenset(
    {"forms:read", "submissions:read", "webhooks:read", "usage:read", "profile:read"}
)
_EDITOR = _VIEWER | {
    "forms:write",
    "forms:export",
    "submissions:write",
    "submissions:delete",
    "webhooks:manage",
}
# What an admin lacks keeps them, by the rule that nobody grants more than they have, from making
# themselves or others owners, and from removing one.
_ADMIN = RIGHTS - {"billing:view"}

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {OWNER: RIGHTS, "admin": _ADMIN, "editor": _EDITOR, "viewer": _VIEWER}
)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a member is given: a role, or with the role ``custom`` a list of permissions."""

    role: str
    permissions: frozenset[str] | None = None

    @property
    def rights(self) -> frozenset[str]:
        """What it lets its member do."""
        return rights_of(self.role, self.permissions)


def rights_of(role: str, permissions: frozenset[str] | None) -> frozenset[str]:
    """What a member may do. Rights that this version does not know grant nothing."""
    if permissions is not None:
        return permissions & RIGHTS
    return ROLES.get(role, frozenset())
