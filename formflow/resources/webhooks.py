"""Commands on webhooks."""

from formflow.commands import LISTED, Command, Given, argument, json_or_file, texts
from formflow.resources.shared import FORM, SINCE, UNTIL

_WEBHOOK = argument("webhook", "The webhook's id, wh_…")
_DELIVERY = argument("delivery", "The delivery's id, whd_…")
_MEMBERS = (
    Given("format", "formflow, slack, discord or telegram."),
    Given("events", "What it is told of, with commas.", read=texts),
    Given("enabled", "Whether anything is sent to it.", bool),
    Given("headers", "Headers of your own: a JSON object, or @FILE.", read=json_or_file),
)
_COLUMNS = ("id", "form_id", "url", "format", "enabled", "last_delivery_at", "failing_since")

WEBHOOKS = (
    Command("list", "GET", "/v1/webhooks", "List the webhooks of all forms.", columns=_COLUMNS),
    Command(
        "of",
        "GET",
        "/v1/forms/{form}/webhooks",
        "List the webhooks of a form.",
        (FORM,),
        columns=_COLUMNS,
    ),
    Command("show", "GET", "/v1/webhooks/{webhook}", "Show a webhook.", (_WEBHOOK,)),
    Command(
        "create",
        "POST",
        "/v1/forms/{form}/webhooks",
        "Create a webhook; prints its secret, this once.",
        (FORM, argument("target", "Where it is posted to.", member="url"), *_MEMBERS),
        prints="secret",
    ),
    Command(
        "change",
        "PATCH",
        "/v1/webhooks/{webhook}",
        "Change a webhook, disable it, or enable it again.",
        (_WEBHOOK, Given("target", "Where it is posted to.", member="url"), *_MEMBERS),
    ),
    Command(
        "test",
        "POST",
        "/v1/webhooks/{webhook}/test",
        "Send a webhook a signed ping; shows what came of it.",
        (_WEBHOOK,),
    ),
    Command(
        "rotate-secret",
        "POST",
        "/v1/webhooks/{webhook}/rotate-secret",
        "Give a webhook a new secret; it is shown this once, and the old one signs for a day.",
        (_WEBHOOK,),
        prints="secret",
    ),
    Command(
        "delete",
        "DELETE",
        "/v1/webhooks/{webhook}",
        "Delete a webhook with its deliveries and their log.",
        (_WEBHOOK,),
        asks="Delete the webhook {webhook} with its log, for good?",
        says="{webhook} is deleted.",
    ),
    Command(
        "deliveries",
        "GET",
        "/v1/webhooks/{webhook}/deliveries",
        "List the deliveries to a webhook, newest first.",
        (_WEBHOOK, Given("status", "pending, delivered, failed or parked.")),
        columns=("id", "event", "submission_id", "status", "attempts", "last_error", "created_at"),
        limit=LISTED,
    ),
    Command(
        "delivery",
        "GET",
        "/v1/deliveries/{delivery}",
        "Show a delivery, its log too.",
        (_DELIVERY,),
    ),
    Command(
        "replay",
        "POST",
        "/v1/deliveries/{delivery}/replay",
        "Deliver the same again; prints the new delivery's id.",
        (_DELIVERY,),
        prints="id",
    ),
    Command(
        "replay-since",
        "POST",
        "/v1/webhooks/{webhook}/replay",
        "Deliver what a webhook has not acknowledged of a time, or all of it.",
        (_WEBHOOK, SINCE, UNTIL, Given("which", "undelivered, or all.")),
    ),
)
