"""Commands on API keys."""

from formflow.commands import Command, Given, argument, text_or_null, texts
from formflow.resources.shared import ENVIRONMENT

_API_KEY = argument("api_key", "The key's id, key_…")
_KEY_TERMS = (
    Given("scopes", "What it may do, with commas: submissions:read,forms:read.", read=texts),
    Given("allowed_ips", "Networks it may be used from, with commas.", read=texts),
    Given("allowed_forms", "Ids of the forms it reaches, with commas.", read=texts),
    Given("rate_limit_per_minute", "Requests in a minute.", int),
    Given("burst", "Requests in a second.", int),
    Given("expires_at", "When it ends: 2027-01-01T00:00:00Z.", read=text_or_null),
)

KEYS = (
    Command(
        "list",
        "GET",
        "/v1/api-keys",
        "List the keys, revoked ones too.",
        columns=("id", "name", "kind", "prefix", "status", "last_used_at", "expires_at"),
    ),
    Command("show", "GET", "/v1/api-keys/{api_key}", "Show a key, but its secret.", (_API_KEY,)),
    Command(
        "create",
        "POST",
        "/v1/api-keys",
        "Create a key; it is shown this once.",
        (
            argument("name", "What the key is for."),
            Given("kind", "submission, management, live or test."),
            ENVIRONMENT,
            *_KEY_TERMS,
        ),
        prints="key",
        always=(("kind", "submission"),),
    ),
    Command(
        "change",
        "PATCH",
        "/v1/api-keys/{api_key}",
        "Change what a key may do.",
        (_API_KEY, Given("name", "What the key is for."), *_KEY_TERMS),
    ),
    Command(
        "rotate",
        "POST",
        "/v1/api-keys/{api_key}/rotate",
        "Put a new key in the place of one; it is shown this once.",
        (_API_KEY, Given("grace_hours", "How long the old one goes on; 24 otherwise.", int)),
        prints="key",
    ),
    Command(
        "revoke",
        "DELETE",
        "/v1/api-keys/{api_key}",
        "Revoke a key: it is refused everywhere from now on.",
        (_API_KEY,),
        asks="Revoke the key {api_key}, for good?",
        says="{api_key} is revoked.",
    ),
)
