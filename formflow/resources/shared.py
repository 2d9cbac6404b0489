"""What commands on several resources take."""

from formflow.commands import Given, argument

FORM = argument("form", "The form's slug or id.")
SINCE = Given("since", "At this time or later: 2026-06-10T10:23:00Z.")
UNTIL = Given("until", "Before this time.")
ENVIRONMENT = Given("environment", "One of the account's environments.")
