"""What the audit log can say was done: a closed list."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Action = Literal[
    "account.changed",
    "account.created",
    "audit.exported",
    "credential.refused",
    "delivery.replayed",
    "environment.created",
    "environment.removed",
    "form.changed",
    "form.created",
    "form.deleted",
    "form.duplicated",
    "form.expired_submissions_removed",
    "form.probed",
    "form.unsubscribed",
    "key.changed",
    "key.created",
    "key.leaked",
    "key.revoked",
    "key.rotated",
    "member.changed",
    "member.invited",
    "member.joined",
    "member.link_made",
    "member.linked",
    "member.removed",
    "session.ended",
    "session.started",
    "sessions.ended",
    "submission.changed",
    "submission.deleted",
    "submissions.changed",
    "submissions.deleted",
    "submissions.exported",
    "submissions.imported",
    "webhook.changed",
    "webhook.created",
    "webhook.deleted",
    "webhook.disabled",
    "webhook.secret_rotated",
    "webhook.tested",
]
"""``noun.verb``: the noun is what the event's ``target`` names."""

MEANINGS: Mapping[Action, str] = MappingProxyType(
    {
        "account.changed": "The account's name or plan was changed.",
        "account.created": "The account was set up, with its owner.",
        "audit.exported": "The audit log was exported.",
        "credential.refused": "A credential was refused; `reason` says why.",
        "delivery.replayed": "Deliveries were sent again.",
        "environment.created": "An environment was added.",
        "environment.removed": "An environment was removed.",
        "form.changed": "Settings of a form were changed.",
        "form.created": "A form was created.",
        "form.deleted": "A form was deleted with all that belongs to it.",
        "form.duplicated": "A form was made as a copy of another.",
        "form.expired_submissions_removed": "Submissions older than the form keeps were removed.",
        "form.probed": "A token for a probe of a form was given out.",
        "form.unsubscribed": "An address left those that the form notifies, by the link in a mail.",
        "key.changed": "What an API key may do, or its name, was changed.",
        "key.created": "An API key was created.",
        "key.leaked": "An API key was reported as leaked, and revoked.",
        "key.revoked": "An API key was revoked.",
        "key.rotated": "An API key was replaced by a new one.",
        "member.changed": "A member's role or permissions were changed.",
        "member.invited": "Somebody was invited, or invited again.",
        "member.joined": "An invitation was accepted.",
        "member.link_made": "A link was made that signs a member in.",
        "member.linked": "A member signed in at the identity provider for the first time.",
        "member.removed": "A member or an invitation was removed.",
        "session.ended": "A member signed out, or ended another of their sessions; or the identity "
        "provider did, and `reason` says how.",
        "session.started": "A member signed in.",
        "sessions.ended": "A member signed out everywhere.",
        "submission.changed": "A submission was filed otherwise, or marked.",
        "submission.deleted": "A submission was deleted.",
        "submissions.changed": "Several submissions were filed otherwise, or marked.",
        "submissions.deleted": "Several submissions were deleted.",
        "submissions.exported": "Submissions of a form were exported.",
        "submissions.imported": "Submissions were imported into a form.",
        "webhook.changed": "Settings of a webhook were changed.",
        "webhook.created": "A webhook was created.",
        "webhook.deleted": "A webhook was deleted with the log of its deliveries.",
        "webhook.disabled": "A webhook was disabled by the server; `reason` says why.",
        "webhook.secret_rotated": "A webhook was given a new secret.",
        "webhook.tested": "A test was sent to a webhook.",
    }
)

Outcome = Literal["succeeded", "refused"]


def outcome_of(action: Action) -> Outcome:
    """What every event of that action says of its outcome."""
    return "refused" if action == "credential.refused" else "succeeded"


ActorKind = Literal["key", "user", "app", "operator", "system", "anonymous"]
"""Who does things: an API key, a member, a third-party app, the operator at the command line, the
server by itself, and whoever shows no valid credential."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something; ``id`` is that of a key, user or app."""

    kind: ActorKind
    id: str | None = None


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
    "used",
    "wrong-secret",
]
"""Why a credential was refused."""

REFUSAL_REASONS: Mapping[RefusalReason, str] = MappingProxyType(
    {
        "expired": "The key, the session or the sign-in link has expired.",
        "insufficient-scope": "The credential is genuine and lacks the scope for what was asked.",
        "internal-token": "The secret that gateways and backend share was wrong.",
        "ip-not-allowed": "The key is genuine and may not be used from this address.",
        "malformed": "The shape or the checksum is wrong: a typo, or one that never was.",
        "others": "Further refusals, too many distinct ones to tell one by one.",
        "rate-limited": "Too many wrong keys came from this address, or from everywhere.",
        "revoked": "The key has been revoked, or the session has been ended.",
        "unknown": "There is no such key, session or sign-in link.",
        "unrecognised": "It is no kind of credential that FormFlow knows.",
        "used": "The sign-in link has been used before.",
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
