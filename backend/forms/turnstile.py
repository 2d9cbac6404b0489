"""Rules of a form's Turnstile members: the secret is sealed, and there is no check without one."""

from typing import Any

from backend.answers import invalid
from backend.forms.store import FormRow
from backend.sealing import NoSecretKey, Sealer


class TurnstileRules:
    """Turns what a client names into what is stored."""

    def __init__(self, sealer: Sealer, has_server_secret: bool) -> None:
        self._sealer = sealer
        self._has_server_secret = has_server_secret

    def applied(self, named: dict[str, Any], held: FormRow | None) -> dict[str, Any]:
        """``named`` with its secret sealed; for a new form (``held`` is None) the check is on if
        there is a secret and nothing else was said.

        Raises:
            Rejected: VALIDATION_ERROR for a check that is on without any secret, or a secret that
                cannot be sealed.
        """
        values = dict(named)
        if values.get("turnstile_secret") is not None:
            values["turnstile_secret"] = self._seal(values["turnstile_secret"])
        secret = values.get("turnstile_secret", held.turnstile_secret if held else None)
        has_secret = secret is not None or self._has_server_secret
        if held is None and values.get("turnstile_enabled") is None:
            values["turnstile_enabled"] = has_secret
        is_on = values.get("turnstile_enabled", held.turnstile_enabled if held else False)
        if is_on and not has_secret:
            raise invalid(
                "turnstile_enabled",
                "no_secret",
                "Set turnstile_secret, or FORMFLOW_TURNSTILE_SECRET on the server, first.",
            )
        return values

    def _seal(self, secret: str) -> str:
        try:
            return self._sealer.seal(secret)
        except NoSecretKey:
            raise invalid(
                "turnstile_secret",
                "no_secret_key",
                "The server keeps no secrets until its operator sets FORMFLOW_SECRET_KEY.",
            ) from None
