"""What the audit log can say was done: a closed list."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Action = Literal[
    "account.changed",
    "account.created",
    "audit.exported",
    "credential.refused",
    "environment.created",
    "environment.removed",
    "form.changed",
    "form.created",
    "form.deleted",
    "form.duplicated",
    "form.expired_submissions_removed",
    "key.changed",
    "key.created",
    "key.leaked",
    "key.revoked",
    "key.rotated",
    "member.changed",
    "member.invited",
    "member.joined",
    "member.removed",
    "submission.changed",
    "submission.deleted",
    "submissions.changed",
    "submissions.deleted",
    "submissions.exported",
    "submissions.imported",
]
"""``noun.verb``: the noun is what the event's ``target`` names."""

MEANINGS: Mapping[Action, str] = MappingProxyType(
    {
        "account.changed": "The account's name or plan was changed.",
        "account.created": "The account was set up, with its owner and first key.",
        "audit.exported": "The audit log was exported.",
        "credential.refused": "A credential was refused; `reason` says why.",
        "environment.created": "An environment was added.",
        "environment.removed": "An environment was removed.",
        "form.changed": "Settings of a form were changed.",
        "form.created": "A form was created.",
        "form.deleted": "A form was deleted with all that belongs to it.",
        "form.duplicated": "A form was made as a copy of another.",
        "form.expired_submissions_removed": "Submissions older than the form keeps were removed.",
        "key.changed": "What an API key may do, or its name, was changed.",
        "key.created": "An API key was created.",
        "key.leaked": "An API key was reported as leaked, and revoked.",
        "key.revoked": "An API key was revoked.",
        "key.rotated": "An API key was replaced by a new one.",
        "member.changed": "A member's role or permissions were changed.",
        "member.invited": "Somebody was invited, or invited again.",
        "member.joined": "An invitation was accepted.",
        "member.removed": "A member or an invitation was removed.",
        "submission.changed": "A submission was filed otherwise, or marked.",
        "submission.deleted": "A submission was deleted.",
        "submissions.changed": "Several submissions were filed otherwise, or marked.",
        "submissions.deleted": "Several submissions were deleted.",
        "submissions.exported": "Submissions of a form were exported.",
        "submissions.imported": "Submissions were imported into a form.",
    }
)

Outcome = Literal["succeeded", "refused"]


def outcome_of(action: Action) -> Outcome:
    """What every event of that action says of its outcome."""
    return "refused" if action == "credential.refused" else "succeeded"


ActorKind = Literal["key", "user", "app", "operator", "system", "anonymous"]
"""Who does things: an API key, a member, a third-party app, the operator at the command line, the
server by itself, and whoever shows no valid credential."""


RefusalReason = Literal[
    "expired",
    "insufficient-scope",
    "internal-token",
    "ip-not-allowed",
    "malformed",
    "others",
    "rate-limited",
    "revoked",
    "unknown",
    "unrecognised",
    "wrong-secret",
]
"""Why a credential was refused."""

REFUSAL_REASONS: Mapping[RefusalReason, str] = MappingProxyType(
    {
        "expired": "The key has expired.",
        "insufficient-scope": "The key is genuine and lacks the scope for what was asked.",
        "internal-token": "The secret that gateways and backend share was wrong.",
        "ip-not-allowed": "The key is genuine and may not be used from this address.",
        "malformed": "The shape or the checksum is wrong: a typo, or a key that never was.",
        "others": "Further refusals, too many distinct ones to tell one by one.",
        "rate-limited": "Too many wrong keys came from this address, or from everywhere.",
        "revoked": "The key has been revoked.",
        "unknown": "There is no such key.",
        "unrecognised": "It is no kind of credential that FormFlow knows.",
        "wrong-secret": "There is such a key, with another secret.",
    }
)


def actions_table() -> str:
    """The reference table, as Markdown."""
    rows = [f"| `{action}` | {MEANINGS[action]} |" for action in sorted(MEANINGS)]
    return "\n".join(["| action | meaning |", "|---|---|", *rows]) + "\n"


def reasons_table() -> str:
    """The reference table, as Markdown."""
    rows = [f"| `{reason}` | {REFUSAL_REASONS[reason]} |" for reason in sorted(REFUSAL_REASONS)]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows]) + "\n"
