"""Makes what a gateway holds share its equal parts: a hundred thousand forms stay in memory."""

import sys
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from contracts.fields import DeclaredField
from contracts.forms import FormConfig, KeyGrant, TurnstileConfig

Shareable = TypeVar("Shareable", tuple[str, ...], tuple[DeclaredField, ...], TurnstileConfig, int)


def shared_form(form: FormConfig) -> FormConfig:
    """An equal form whose parts that many forms have in common are there once."""
    return replace(
        form,
        account_id=sys.intern(form.account_id),
        environment=sys.intern(form.environment),
        honeypot_field=form.honeypot_field and sys.intern(form.honeypot_field),
        redirect_hosts=_shared(form.redirect_hosts),
        allowed_origins=_shared(form.allowed_origins),
        rate_limit_per_minute=_shared(form.rate_limit_per_minute),
        turnstile=form.turnstile and _shared(form.turnstile),
        file_bytes=_shared(form.file_bytes),
        fields=_shared(form.fields),
    )


def shared_grant(grant: KeyGrant) -> KeyGrant:
    """An equal grant whose account, as its forms know it, is there once."""
    return replace(grant, account_id=sys.intern(grant.account_id))


@lru_cache(maxsize=10_000, typed=True)
def _shared(value: Shareable) -> Shareable:
    # The cache returns the first of all equal ones.
    return value
