"""The management API, as far as scenarios need it to set their forms up."""

from dataclasses import dataclass
from typing import Any

import httpx

_UNLIMITED = 100_000


@dataclass(frozen=True)
class Management:
    """One account's API. ``rate_limit_per_minute`` of a form is as high as it can be by default."""

    url: str
    key: str

    def create_form(self, slug: str, **members: Any) -> str:
        """Adds a form; returns the path that takes its posts."""
        form = {"name": slug, "slug": slug, "rate_limit_per_minute": _UNLIMITED, **members}
        self._call("POST", "/v1/forms", form)
        return f"/v1/f/{slug}"

    def lift_rate_limit(self, form_id: str) -> None:
        """Lets one visitor post as often as a form can allow."""
        self._call("PATCH", f"/v1/forms/{form_id}", {"rate_limit_per_minute": _UNLIMITED})

    def _call(self, method: str, path: str, document: dict[str, Any]) -> Any:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = httpx.request(
            method, self.url + path, json=document, headers=headers, timeout=20.0
        )
        return answer.raise_for_status().json()
