"""What a page says after something was done, by the name that the address carries: nobody can make
a page say anything else. The address may carry a number beside it, ``count``."""

from collections.abc import Mapping
from types import MappingProxyType

from backend.console.formats import count

NOTICES: Mapping[str, str] = MappingProxyType(
    {
        "deleted": "Deleted.",
        "form-created": "The form is there. Paste the code below into your page.",
        "form-deleted": "The form is deleted, and its submissions with it.",
        "form-draft": "The form is a draft: posts are refused.",
        "form-duplicated": "This is the copy: it has an address of its own.",
        "form-live": "The form is live: it takes submissions.",
        "form-paused": "The form is paused: posts are refused until you resume it.",
        "environment-added": "The environment is added.",
        "environment-removed": "The environment is removed.",
        "invitation-gone": "The invitation is taken back: its link does not work any more.",
        "key-revoked": "The key is revoked: nothing accepts it any more.",
        "leak-reported": "Thank you. If that was a key in force, it is revoked.",
        "member-removed": "The member is removed, and signed out.",
        "marked-read": "Marked as read: {count}.",
        "marked-received": "Filed as received: {count}. What has not gone out before goes out now.",
        "marked-spam": "Filed as spam: {count}.",
        "marked-unread": "Marked as not read: {count}.",
        "none-ticked": "Tick the submissions first.",
        "nothing-to-replay": "There was nothing to send again.",
        "nothing-ticked": "Tick what is to be sent again first.",
        "replay-begun": "Sending it again: this is the delivery.",
        "replayed": "On their way again: {count}.",
        "replayed-part": "On their way again: {count}. There are more: send a later part, too.",
        "released": "Released: it goes out to whom the form tells.",
        "saved": "Saved.",
        "sent-again": "On its way again, as a delivery of its own.",
        "session-ended": "That session is ended.",
        "signed-out": "You are signed out.",
        "signed-out-everywhere": "You are signed out everywhere.",
        "submission-received": "Filed as received. If it has not gone out before, it goes out now.",
        "submission-spam": "Filed as spam.",
        "submission-unread": "Kept as not read.",
        "submissions-deleted": "Deleted: {count}.",
        "webhook-deleted": "The webhook is deleted, and so is its log.",
        "webhook-disabled": "Disabled: what is pending is parked until you enable it again.",
        "webhook-enabled": "Enabled: what was parked goes out.",
    }
)

_DIGITS_MAX = 9


def notice_of(query: Mapping[str, str]) -> str | None:
    """What the query of an address makes a page say."""
    text, number = NOTICES.get(query.get("notice", "")), query.get("count", "")
    if text is None or "{count}" not in text:
        return text
    is_number = number.isascii() and number.isdecimal() and len(number) <= _DIGITS_MAX
    return text.format(count=count(int(number))) if is_number else None
