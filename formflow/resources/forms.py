"""Commands on forms."""

from pathlib import Path

from formflow.commands import (
    Command,
    Given,
    argument,
    content_of,
    json_or_file,
    text_or_null,
    texts,
)
from formflow.resources.shared import ENVIRONMENT, FORM

_FORM_MEMBERS = (
    Given("status", "live, paused or draft."),
    Given("mode", "live, or test: costs no quota, sends nothing."),
    Given("redirect_url", "Where browsers go next; empty for a page of ours.", read=text_or_null),
    Given("redirect_hosts", "Hosts that _next may lead to, with commas.", read=texts),
    Given("allowed_origins", "Origins whose pages may post, with commas.", read=texts),
    Given("rate_limit_per_minute", "Anonymous posts of one visitor in a minute.", int),
    Given("notify_emails", "Who is told of submissions, with commas."),
    Given("from_address", "The sender of these mails.", read=text_or_null),
    Given("subject_template", "The subject of these mails.", read=text_or_null),
    Given("autoresponse_enabled", "Whether visitors are answered by mail.", bool),
    Given("autoresponse_subject", "The subject of that answer.", read=text_or_null),
    Given("autoresponse_message", "What that answer says.", read=text_or_null),
    Given("retention_days", "Days that submissions are kept.", int),
    Given("honeypot_enabled", "Whether what fills in the honeypot is spam.", bool),
    Given("honeypot_field", "The name of the honeypot."),
    Given("turnstile_enabled", "Whether Turnstile is asked.", bool),
    Given("turnstile_site_key", "The site key of the widget.", read=text_or_null),
    Given(
        "turnstile_secret_file",
        "A file with the secret of the widget.",
        Path,
        "turnstile_secret",
        read=content_of,
    ),
    Given("turnstile_skip_with_key", "Whether posts with a key need no token.", bool),
    Given("turnstile_on_outage", "refuse, hold or accept, while Turnstile is away."),
    Given("idempotency_strict", "Whether a key with another body is refused.", bool),
    Given("fields", "The declared fields: JSON, or @FILE.", read=json_or_file),
    Given("enforce_fields", "Whether posts must be as declared.", bool),
    Given("silence_alarm_enabled", "Whether its owners are told when nothing comes.", bool),
)

FORMS = (
    Command(
        "list",
        "GET",
        "/v1/forms",
        "List the forms.",
        columns=("id", "slug", "name", "status", "mode", "environment", "created_at"),
    ),
    Command("show", "GET", "/v1/forms/{form}", "Show a form.", (FORM,)),
    Command(
        "create",
        "POST",
        "/v1/forms",
        "Create a form; prints its slug.",
        (
            argument("name", "The form's name."),
            Given("slug", "Its slug; made of the name otherwise."),
            ENVIRONMENT,
            *_FORM_MEMBERS,
        ),
        prints="slug",
    ),
    Command(
        "change",
        "PATCH",
        "/v1/forms/{form}",
        "Change a form; gateways know within a second.",
        (FORM, Given("name", "Its name."), *_FORM_MEMBERS),
    ),
    Command(
        "duplicate",
        "POST",
        "/v1/forms/{form}/duplicate",
        "Copy a form's settings to a new form, not its webhooks; prints its slug.",
        (FORM, Given("name", "The new form's name."), Given("slug", "Its slug.")),
        prints="slug",
    ),
    Command(
        "delete",
        "DELETE",
        "/v1/forms/{form}",
        "Delete a form with its submissions and files.",
        (FORM,),
        asks="Delete the form {form} with all its submissions, for good?",
        says="{form} is deleted.",
    ),
)
