"""Declared fields in the whole product: configured by the API, enforced by the gateway."""

from pathlib import Path
from typing import Any

import httpx

from tests.integration.test_clients import with_node
from tests.support.processes import Product, until

FORM: dict[str, Any] = {
    "name": "Contact",
    "fields": [
        {"name": "email", "type": "email", "required": True},
        {"name": "name", "max_length": 2},
        {"name": "topic", "type": "select", "options": ["sales"], "multiple": True},
        {"name": "cv", "type": "file", "required": True},
    ],
    "enforce_fields": True,
}


def status_of(url: str) -> int:
    return httpx.post(url, data={"email": "ada"}, trust_env=False).status_code


def test_a_declaration_is_enforced_until_it_is_no_longer(product: Product) -> None:
    with product.manager() as manager:
        form = manager.post("/v1/forms", json=FORM).json()
        url = f"{product.url}/v1/f/{form['slug']}"
        assert status_of(url) == 422
        manager.patch(f"/v1/forms/{form['id']}", json={"enforce_fields": False})
        until(lambda: status_of(url) == 200)
        manager.patch(f"/v1/forms/{form['id']}", json={"enforce_fields": True})
        until(lambda: status_of(url) == 422)


def test_formspree_s_client_shows_each_error_at_its_field(product: Product, tmp_path: Path) -> None:
    path = tmp_path / "cv.txt"
    path.write_text("hi")
    with product.manager() as manager:
        form = manager.post("/v1/forms", json=FORM).json()
    result = with_node("formspree")(f"{product.url}/v1/f/{form['slug']}", path)
    assert result["kind"] == "error"
    shown = {field: errors[0]["code"] for field, errors in result["fields"]}
    expected = {"email": "REQUIRED_FIELD_MISSING", "name": "TYPE_TEXT", "topic": "TYPE_TEXT"}
    assert shown == expected
