"""Commands on what belongs to the account as a whole."""

from formflow.commands import LISTED, Command, Given, argument, texts
from formflow.resources.shared import SINCE, UNTIL

USAGE = (
    Command("month", "GET", "/v1/usage", "Show this month, and the plan's limits."),
    Command(
        "daily",
        "GET",
        "/v1/usage/daily",
        "Show day by day.",
        (
            Given("first", "The first day: 2026-06-01.", member="from"),
            Given("last", "The last day.", member="to"),
            Given("form", "Only this form's submissions.", member="form_id"),
        ),
        columns=("date", "submissions", "spam", "held", "test", "replays", "api_calls"),
        is_paged=False,
    ),
)

AUDIT = (
    Command(
        "list",
        "GET",
        "/v1/audit-log",
        "List what was done and refused, newest first.",
        (
            Given("actor", "Who: the id of a key or member, or operator."),
            Given("action", "What: form.deleted, or all of a kind: form."),
            Given("target", "On what: an id."),
            Given("outcome", "succeeded or refused."),
            SINCE,
            UNTIL,
        ),
        columns=("occurred_at", "action", "target", "actor.kind", "actor.name", "address", "count"),
        limit=LISTED,
    ),
    Command(
        "show",
        "GET",
        "/v1/audit-log/{event}",
        "Show an event.",
        (argument("event", "The event's id, evt_…"),),
    ),
)

_MEMBER = argument("member", "The member's id, usr_…")
_ROLE = (
    Given("role", "owner, admin, editor or viewer."),
    Given("permissions", "Instead of a role, with commas.", read=texts),
)

MEMBERS = (
    Command(
        "list",
        "GET",
        "/v1/members",
        "List members and those invited.",
        columns=("id", "email", "role", "status", "joined_at"),
    ),
    Command(
        "invite",
        "POST",
        "/v1/members",
        "Invite somebody; prints the invitation, which is shown this once.",
        (argument("email", "The address."), *_ROLE),
        prints="invitation",
    ),
    Command(
        "change",
        "PATCH",
        "/v1/members/{member}",
        "Change what a member may do.",
        (_MEMBER, *_ROLE),
    ),
    Command(
        "remove",
        "DELETE",
        "/v1/members/{member}",
        "Remove a member, or take an invitation back.",
        (_MEMBER,),
        asks="Remove the member {member}?",
        says="{member} is removed.",
    ),
)

ENVIRONMENTS = (
    Command(
        "list",
        "GET",
        "/v1/environments",
        "List the environments.",
        columns=("id", "name", "created_at"),
    ),
    Command(
        "create",
        "POST",
        "/v1/environments",
        "Create an environment.",
        (argument("name", "Its name."),),
    ),
    Command(
        "remove",
        "DELETE",
        "/v1/environments/{environment}",
        "Remove an environment that nothing is in.",
        (argument("environment", "Its id, env_…"),),
        asks="Remove the environment {environment}?",
        says="{environment} is removed.",
    ),
)

ACCOUNT = (
    Command("show", "GET", "/v1/account", "Show the account and its plan."),
    Command(
        "change",
        "PATCH",
        "/v1/account",
        "Change the account.",
        (Given("name", "Its name."), Given("plan", "Its plan: formflow plans list.")),
    ),
)

PLANS = (
    Command(
        "list",
        "GET",
        "/v1/plans",
        "List the plans.",
        columns=("name", "submissions_per_month", "file_megabytes", "keys", "members"),
        is_paged=False,
    ),
)
