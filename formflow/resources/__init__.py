"""The commands on each resource of the management API, as data."""

from collections.abc import Mapping, Sequence

from formflow.commands import Command
from formflow.resources.account import ACCOUNT, AUDIT, ENVIRONMENTS, MEMBERS, PLANS, USAGE
from formflow.resources.forms import FORMS
from formflow.resources.keys import KEYS
from formflow.resources.submissions import SUBMISSIONS

DESCRIBED: Mapping[str, Sequence[Command]] = {
    "forms": FORMS,
    "submissions": SUBMISSIONS,
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
    "keys": "API keys.",
    "usage": "What was used.",
    "audit": "The audit log.",
    "members": "Members of the account.",
    "environments": "Environments of the account.",
    "account": "The account.",
    "plans": "Plans of this server.",
}
