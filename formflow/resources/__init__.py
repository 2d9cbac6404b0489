"""The commands on each resource of the management API, as data."""

from collections.abc import Mapping, Sequence

from formflow.commands import Command
from formflow.resources.account import ACCOUNT, AUDIT, ENVIRONMENTS, MEMBERS, PLANS, USAGE
from formflow.resources.forms import FORMS
from formflow.resources.keys import KEYS
from formflow.resources.mailbox import MAILBOX
from formflow.resources.submissions import SUBMISSIONS
from formflow.resources.webhooks import WEBHOOKS

DESCRIBED: Mapping[str, Sequence[Command]] = {
    "forms": FORMS,
    "submissions": SUBMISSIONS,
    "webhooks": WEBHOOKS,
    "mailbox": MAILBOX,
    "keys": KEYS,
    "usage": USAGE,
    "audit": AUDIT,
    "members": MEMBERS,
    "environments": ENVIRONMENTS,
    "account": ACCOUNT,
    "plans": PLANS,
}
"""The commands by resource."""

HELP = {
    "forms": "Forms.",
    "submissions": "Submissions.",
    "webhooks": "Webhooks, and what was delivered to them.",
    "mailbox": "Mails that were written to files for want of an SMTP server.",
    "keys": "API keys.",
    "usage": "What was used.",
    "audit": "The audit log.",
    "members": "Members of the account.",
    "environments": "Environments of the account.",
    "account": "The account.",
    "plans": "Plans of this server.",
}
