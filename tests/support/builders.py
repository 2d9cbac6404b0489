"""Things that tests need, with sensible defaults."""

from typing import Any

from contracts.forms import FormConfig, FormStatus, KeyGrant
from contracts.ids import new_id
from contracts.submissions import Submission

NOW_MS = 1_780_000_000_000


def form_config(**members: Any) -> FormConfig:
    """A live form of the slug ``contact``."""
    defaults: dict[str, Any] = {
        "id": "frm_1",
        "slug": "contact",
        "account_id": "acc_1",
        "revision": 1,
        "name": "Contact",
        "status": FormStatus.LIVE,
        "honeypot_field": "_gotcha",
        "redirect_url": None,
        "redirect_hosts": (),
        "is_test": False,
        "allowed_origins": (),
        "rate_limit_per_minute": 1_000,
        "idempotency_strict": False,
        "turnstile": None,
        "file_bytes": 1_000_000,
    }
    return FormConfig(**(defaults | members))


def key_grant(**members: Any) -> KeyGrant:
    """A grant for the account of ``form_config``."""
    defaults: dict[str, Any] = {
        "key_id": "0" * 12,
        "account_id": "acc_1",
        "revision": 1,
        "rate_limit_per_minute": 1_200,
        "burst": 50,
    }
    return KeyGrant(**(defaults | members))


def submission(**members: Any) -> Submission:
    """A received submission to the form of ``form_config``."""
    defaults: dict[str, Any] = {
        "id": new_id("sub", NOW_MS),
        "form_id": "frm_1",
        "received_at": NOW_MS,
        "status": "received",
        "payload": '{"email":"ada@example.com"}',
        "meta": '{"ip":"192.0.2.1"}',
        "trace": "[]",
    }
    return Submission(**(defaults | members))
