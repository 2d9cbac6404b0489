"""The events of the audit log as sentences: who, and then what they did to what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from backend.accounts.roles import CUSTOM
from backend.audit.actions import MEANINGS, REFUSAL_REASONS
from backend.audit.schemas import Event

# What follows whoever did it. A part in brackets is left out if something that it names is not
# known: {target} what it was done to, the others what the event's details say.
PHRASES: Mapping[str, str] = MappingProxyType(
    {
        "account.changed": "changed the account[: its name is {name}][: its plan is {plan}]",
        "account.created": "set the account up",
        "audit.exported": "exported the audit log[ as {format}]",
        "credential.refused": "was refused[ with {target}…][: {reason}]",
        "delivery.replayed": "sent deliveries again ({count})[ of {target}]",
        "environment.created": "added the environment {target}",
        "environment.removed": "removed the environment {target}",
        "form.changed": "changed the form {target}[: {members}]",
        "form.created": "created the form {target}",
        "form.deleted": "deleted the form {target} and all that belonged to it",
        "form.duplicated": "made the form {target} as a copy of another",
        "form.expired_submissions_removed": "removed submissions that the form {target} keeps no "
        "longer ({count})",
        "form.probed": "had a token made for a probe of the form {target}",
        "form.unsubscribed": "took an address off those that the form {target} notifies, by the "
        "link in a mail[: {address}]",
        "key.changed": "changed the API key {target}[: {members}]",
        "key.created": "created the API key {target}[, {kind}]",
        "key.leaked": "reported the API key {target} as leaked: it is revoked",
        "key.revoked": "revoked the API key {target}",
        "key.rotated": "replaced the API key {target} by a new one[; the old one works for "
        "{grace_hours} more hours]",
        "member.changed": "changed what {target} may do[: now {role}]",
        "member.invited": "invited {target}[ as {role}]",
        "member.joined": "accepted the invitation and joined",
        "member.link_made": "had a link made that signs {target} in",
        "member.linked": "signed in at the identity provider for the first time",
        "member.removed": "removed {target}[: {reason}]",
        "session.ended": "ended a session[: {reason}]",
        "session.started": "signed in",
        "sessions.ended": "signed out everywhere",
        "submission.changed": "marked the submission {target}[ as {marks}]",
        "submission.deleted": "deleted the submission {target}",
        "submissions.changed": "marked several submissions ({count})[ as {marks}]",
        "submissions.deleted": "deleted several submissions ({count})",
        "submissions.exported": "exported submissions of the form {target}[ as {format}]",
        "submissions.imported": "imported submissions into the form {target}[ ({count})]",
        "webhook.changed": "changed the webhook {target}[: {members}]",
        "webhook.created": "created the webhook {target}[ to {host}]",
        "webhook.deleted": "deleted the webhook {target}[ to {host}]",
        "webhook.disabled": "disabled the webhook {target}[: {reason}]",
        "webhook.secret_rotated": "gave the webhook {target} a new secret",
        "webhook.tested": "sent a test to the webhook {target}",
    }
)
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "account": "The account",
        "audit": "The audit log",
        "credential": "Refused credentials",
        "delivery": "Deliveries",
        "environment": "Environments",
        "form": "Forms",
        "key": "API keys",
        "member": "Members",
        "session": "Sessions",
        "sessions": "All sessions of a member",
        "submission": "Single submissions",
        "submissions": "Several submissions",
        "webhook": "Webhooks",
    }
)
"""The nouns of the actions, as what they stand for is called."""
_ACTORS = {
    "operator": "The operator",
    "system": "FormFlow itself",
    "anonymous": "Somebody unknown",
    "key": "The API key",
    "user": "A member",
    "app": "The app",
}
_PAGES = {
    "frm": "/forms/",
    "key": "/api-keys/",
    "sub": "/submissions/",
    "usr": "/members/",
    "wh": "/webhooks/",
    "whd": "/deliveries/",
}
_GONE = frozenset({"form.deleted", "member.removed", "submission.deleted", "webhook.deleted"})
_OPTIONAL = re.compile(r"\[([^]]*)\]")
_HOLE = re.compile(r"\{(\w+)\}")
# Where the target stands in a phrase that is filled in.
_MARK = "\0"


@dataclass(frozen=True, slots=True)
class Sentence:
    """Who did what: the text before the target, the target with its page if it has one, and the
    text after it."""

    actor: str
    before: str
    target: str = ""
    page: str | None = None
    after: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The actions of a noun, to choose from."""

    title: str
    name: str
    actions: list[tuple[str, str]]


def sentence_of(event: Event, names: Mapping[str, str]) -> Sentence:
    """The event as a sentence; ``names`` are those of what has an id."""
    target = event.target or ""
    known = _details(event)
    if target:
        known["target"] = _MARK
    phrase = _filled(PHRASES.get(event.action, event.action), known)
    before, _, after = phrase.partition(_MARK)
    details = event.details
    shown = names.get(target) or str(details.get("name") or details.get("email") or target)
    prefix = target.partition("_")[0]
    is_named = _MARK in phrase
    has_page = is_named and event.action not in _GONE and "_" in target and prefix in _PAGES
    return Sentence(
        actor=_actor(event),
        before=before,
        target=shown if is_named else "",
        page=_PAGES[prefix] + target if has_page else None,
        after=after,
    )


def action_choices() -> list[Choice]:
    """What one can filter by: every action, by its noun."""
    return [
        Choice(
            title,
            f"{noun}.",
            [
                (name, meaning.partition(";")[0].rstrip("."))
                for name, meaning in MEANINGS.items()
                if name.startswith(f"{noun}.")
            ],
        )
        for noun, title in GROUPS.items()
    ]


def _actor(event: Event) -> str:
    kind = _ACTORS[event.actor.kind]
    if event.actor.kind == "user":
        return event.actor.name or kind
    return f"{kind} “{event.actor.name}”" if event.actor.name else kind


def _details(event: Event) -> dict[str, str]:
    """What the details say, in words."""
    known = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in event.details.items()
        if value not in (None, "", [])
    }
    known["count"] = str(event.details.get("count", event.details.get("files", event.count)))
    if known.get("role") == CUSTOM:
        known["role"] = "member with chosen rights"
    known["members"] = known.get("members", "").replace("_", " ")
    if event.action == "credential.refused":
        reason = REFUSAL_REASONS.get(event.details.get("reason", ""), "")
        known["reason"] = reason[:1].lower() + reason[1:].rstrip(".")
    marks = [str(event.details["status"])] if "status" in event.details else []
    if "read" in event.details:
        marks.append("read" if event.details["read"] else "unread")
    known["marks"] = " and ".join(marks)
    return {name: text for name, text in known.items() if text}


def _filled(phrase: str, known: Mapping[str, str]) -> str:
    """The phrase with what is known; a part in brackets stands if all that it names is."""

    def optional(match: re.Match[str]) -> str:
        part = match.group(1)
        return part if all(name in known for name in _HOLE.findall(part)) else ""

    return _HOLE.sub(lambda match: known.get(match.group(1), "…"), _OPTIONAL.sub(optional, phrase))
