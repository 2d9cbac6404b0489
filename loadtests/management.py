"""The management API, as far as scenarios need it to set their forms up."""

from dataclasses import dataclass
from typing import Any

import httpx

# Who is told is a scenario of its own: the peers of the others tell nobody either.
_OPEN = {"rate_limit_per_minute": 100_000, "notify_emails": ""}


@dataclass(frozen=True)
class Management:
    """One account's API. A form's ``rate_limit_per_minute`` is as high as it can be by default, and
    nobody is told of its submissions."""

    url: str
    key: str

    def create_form(self, slug: str, **members: Any) -> str:
        """Adds a form; returns the path that takes its posts."""
        form = {"name": slug, "slug": slug, **_OPEN, **members}
        self._call("POST", "/v1/forms", form)
        return f"/v1/f/{slug}"

    def add_webhook(self, slug: str, url: str) -> None:
        """Has a form tell a server of its submissions."""
        forms = self._call("GET", "/v1/forms")["data"]
        [form_id] = [form["id"] for form in forms if form["slug"] == slug]
        self._call("POST", f"/v1/forms/{form_id}/webhooks", {"url": url})

    def open_form(self, form_id: str) -> None:
        """Lets one visitor post to a form as often as it can allow, and nobody be told."""
        self._call("PATCH", f"/v1/forms/{form_id}", _OPEN)

    def _call(self, method: str, path: str, document: dict[str, Any] | None = None) -> Any:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = httpx.request(
            method, self.url + path, json=document, headers=headers, timeout=20.0
        )
        return answer.raise_for_status().json()
