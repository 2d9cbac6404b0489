"""What each right lets somebody do, in words; keys and members are given some of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

WORDS: Mapping[str, str] = MappingProxyType(
    {
        "forms:read": "See forms, their settings and environments",
        "forms:write": "Create, change and delete forms and environments",
        "forms:export": "Export all submissions of a form",
        "submissions:read": "Read submissions and their files",
        "submissions:write": "Post to forms, mark and file submissions, import",
        "submissions:delete": "Delete submissions for good",
        "webhooks:read": "See webhooks and deliveries",
        "webhooks:manage": "Create, change, test and delete webhooks, send deliveries again",
        "keys:manage": "Create, change, rotate and revoke API keys",
        "usage:read": "See what is used, and the plans",
        "audit:read": "Read and export the audit log",
        "members:read": "See who is a member",
        "members:manage": "Invite, change and remove members, rename the account",
        "profile:read": "See the account's name, plan and limits",
        "integrations:manage": "Connect other apps and disconnect them",
        "billing:view": "See bills",
    }
)
_GROUPS = {
    "Forms": ("forms:",),
    "Submissions": ("submissions:",),
    "Webhooks": ("webhooks:", "integrations:"),
    "Account": ("keys:", "usage:", "audit:", "members:", "profile:", "billing:"),
}


@dataclass(frozen=True, slots=True)
class RightGroup:
    """Rights about one thing: their names and words."""

    title: str
    rights: Sequence[tuple[str, str]]


def groups_of(rights: frozenset[str]) -> list[RightGroup]:
    """The rights, by what they are about."""
    found = []
    for title, prefixes in _GROUPS.items():
        of_group = [
            (name, words)
            for name, words in WORDS.items()
            if name in rights and name.startswith(prefixes)
        ]
        if of_group:
            found.append(RightGroup(title, of_group))
    return found
