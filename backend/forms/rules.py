"""Which members of a form may be set to what: by a credential, on a plan, beside other members.

What a credential cannot reach is missing (404); what it may not do with what it reaches, or create,
is refused for want of a right (403).
"""

from collections.abc import Mapping
from typing import Any

from backend.access import Principal, Reach
from backend.accounts.store import plan_of
from backend.answers import invalid
from backend.db import Connection
from backend.environments.store import environment_names
from backend.forms.creation import NewForm
from backend.forms.store import FormRow
from backend.plans.catalogue import Plans
from contracts.problems import Problem, Rejected

_TEST = "test"


def check_may_create(reach: Reach) -> None:
    """Raises Rejected(INSUFFICIENT_SCOPE) for a credential that is restricted to some forms: it
    could not reach what it creates."""
    if reach.form_ids is not None:
        raise _beyond("This credential is restricted to some forms and cannot create others.")


def with_defaults(reach: Reach, members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a new form; those not named are such that the credential reaches the form."""
    defaults: dict[str, Any] = {}
    if reach.environment is not None:
        defaults["environment"] = reach.environment
    if reach.is_sandbox:
        defaults["mode"] = _TEST
    return defaults | dict(members)


def check_stays_within(reach: Reach, members: Mapping[str, Any]) -> None:
    """Raises Rejected(INSUFFICIENT_SCOPE) if a form of these members would be beyond reach."""
    environment = members.get("environment", reach.environment)
    if reach.environment is not None and environment != reach.environment:
        raise _beyond(f"This credential is for the environment {reach.environment} only.")
    if reach.is_sandbox and members.get("mode", _TEST) != _TEST:
        raise _beyond("A test credential is for forms of mode test only.")


async def check_account(
    connection: Connection, principal: Principal, plans: Plans, members: Mapping[str, Any]
) -> None:
    """Raises Rejected(VALIDATION_ERROR) for an environment that the account does not have, or more
    retention than its plan allows. The transaction holds the revision's counter: an environment
    that is there stays there."""
    environment = members.get("environment")
    if environment is not None:
        names = await environment_names(connection, principal.account_id)
        if environment not in names:
            there = ", ".join(sorted(names))
            raise invalid("environment", "unknown_environment", f"There are {there}.")
    days = members.get("retention_days")
    if days is not None:
        most = plans.get(await plan_of(connection, principal.account_id)).retention_days
        if most is not None and days > most:
            raise invalid(
                "retention_days",
                "over_plan",
                f"The plan keeps submissions for {most} days at most.",
            )


def check_fields(form: FormRow | NewForm) -> None:
    """Raises Rejected(VALIDATION_ERROR) if the honeypot field is declared: people must not fill it
    in, and it is never stored."""
    if form.honeypot_enabled and any(field.name == form.honeypot_field for field in form.fields):
        raise invalid(
            "fields", "control_field", f"{form.honeypot_field} is the form's honeypot field."
        )


def _beyond(detail: str) -> Rejected:
    return Rejected(Problem.INSUFFICIENT_SCOPE, detail, scope="forms:write")
