"""What of a webhook is kept sealed: its secrets, and the values of its own headers."""

from collections.abc import Mapping

from backend.sealing import NoSecretKey, Sealer
from backend.webhooks.store import WebhookRow
from contracts.problems import Problem, Rejected

__all__ = ["NoSecretKey", "WebhookSealer"]


class WebhookSealer:
    """Seals what is stored of a webhook, and opens it for a request to its target."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, text: str) -> str:
        """The sealed text. Raises Rejected(CONFLICT) on a server that keeps no secrets."""
        try:
            return self._sealer.seal(text)
        except NoSecretKey:
            raise Rejected(
                Problem.CONFLICT,
                "A webhook has a secret, and the server keeps none until its operator sets "
                "FORMFLOW_SECRET_KEY.",
            ) from None

    def seal_values(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers with their values sealed. Raises Rejected(CONFLICT)."""
        return {name: self.seal(value) for name, value in headers.items()}

    def headers_of(self, webhook: WebhookRow) -> dict[str, str]:
        """The webhook's own headers. Raises NoSecretKey."""
        return {name: self._sealer.unseal(value) for name, value in webhook.headers.items()}

    def secrets_of(self, webhook: WebhookRow, now_ms: int) -> list[str]:
        """The secrets that sign now, the current one first. Raises NoSecretKey."""
        sealed = [webhook.secret]
        if webhook.previous_secret is not None and now_ms < (webhook.previous_secret_until or 0):
            sealed.append(webhook.previous_secret)
        return [self._sealer.unseal(text) for text in sealed]
