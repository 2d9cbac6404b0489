"""Forms as gateways see them: with their plan, their account's rights and server-wide defaults."""

from typing import Any

import orjson

from backend.forms.store import declared_fields
from backend.plans.catalogue import Plans
from backend.sealing import NoSecretKey, Sealer
from contracts.forms import FormConfig, FormStatus, TurnstileConfig, TurnstileOnOutage
from contracts.runtime.settings import Settings
from contracts.runtime.telemetry import get_logger

_log = get_logger("backend")


class FormConfigs:
    """Makes the documents that look-ups and the feed carry."""

    def __init__(self, settings: Settings, plans: Plans, sealer: Sealer) -> None:
        self._plans = plans
        self._sealer = sealer
        secret = settings.turnstile_secret
        self._server_secret = secret.get_secret_value() if secret else None

    def of(self, row: Any) -> FormConfig:
        """The document of a row of ``forms`` that is not deleted, with its account's ``plan``."""
        plan = self._plans.get(row.plan)
        return FormConfig(
            id=row.id,
            slug=row.slug,
            account_id=row.account_id,
            revision=row.revision,
            name=row.name,
            status=FormStatus(row.status),
            is_test=row.mode == "test",
            honeypot_field=row.honeypot_field if row.honeypot_enabled else None,
            redirect_url=row.redirect_url,
            redirect_hosts=tuple(orjson.loads(row.redirect_hosts)),
            allowed_origins=tuple(orjson.loads(row.allowed_origins)),
            rate_limit_per_minute=row.rate_limit_per_minute,
            idempotency_strict=row.idempotency_strict,
            turnstile=self._turnstile(row) if row.turnstile_enabled else None,
            file_bytes=plan.file_bytes,
            has_quota=plan.submissions_per_month is not None,
            fields=declared_fields(row.fields) if row.enforce_fields else (),
            environment=row.environment,
        )

    def _turnstile(self, row: Any) -> TurnstileConfig:
        # Without its secret the check cannot pass: the form's outage policy then decides, which
        # is better than a form that silently lost its check.
        secret = self._server_secret or ""
        if row.turnstile_secret is not None:
            try:
                secret = self._sealer.unseal(row.turnstile_secret)
            except NoSecretKey:
                _log.error("Turnstile secret cannot be unsealed: FORMFLOW_SECRET_KEY", form=row.id)
        return TurnstileConfig(
            secret, TurnstileOnOutage(row.turnstile_on_outage), row.turnstile_skip_with_key
        )
