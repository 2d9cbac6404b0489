"""What a whole product leaves behind of secrets, and of those who were refused."""

from pathlib import Path

import httpx
import pytest

from contracts.keys import KeyKind, mint_key, parse_key
from tests.support.processes import Product

TURNSTILE_SECRET = "0x4AAAAAAAcanaryOfTheTurnstileSecret"
PASSWORD = "canary-password-sent-by-mistake"


@pytest.fixture
def chatty(tmp_path: Path) -> Product:
    """A product that logs all it can; to be started."""
    return Product(tmp_path / "data", LOG_LEVEL="debug", LOG_FORMAT="json")


def secret_of(key: str) -> str:
    parsed = parse_key(key)
    assert parsed is not None
    return parsed.secret


def test_no_secret_is_on_the_disk_or_in_a_log_and_who_was_refused_is_in_the_audit_log(
    chatty: Product,
) -> None:
    secrets = [TURNSTILE_SECRET, PASSWORD]
    unknown = mint_key(KeyKind.SUBMISSION)
    try:
        chatty.start()
        secrets.append(secret_of(chatty.first["management_key"]))
        with chatty.manager() as manager:
            for path, body in (
                ("/v1/api-keys", {"name": "a", "kind": "submission"}),
                ("/v1/members", {"email": "a@example.com", "role": "viewer"}),
            ):
                headers = {"Idempotency-Key": path.replace("/", "-")}
                answer = manager.post(path, json=body, headers=headers)
                shown = answer.raise_for_status().json()
                secrets.append(secret_of(shown["key"]) if "key" in shown else shown["invitation"])
            manager.patch(
                f"/v1/forms/{chatty.first['demo_form_id']}",
                json={"turnstile_secret": TURNSTILE_SECRET, "turnstile_skip_with_key": True},
            ).raise_for_status()
        secrets.append(unknown.secret)
        for credential in (unknown.text, unknown.text[:-1], PASSWORD):
            bearer = {"Authorization": f"Bearer {credential}"}
            assert httpx.get(f"{chatty.url}/v1/forms", headers=bearer).status_code == 403
            posted = httpx.post(f"{chatty.url}/v1/f/demo", headers=bearer, json={"a": "b"})
            assert posted.status_code in (401, 403)
    finally:
        stopped = chatty.stop()
    assert stopped == 0

    assert [secret for secret in secrets if secret in chatty.log] == []
    kept = [path for path in chatty.data_dir.rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in kept)
    found = {
        (path.name, secret)
        for path in kept
        for secret in secrets
        if secret.encode() in path.read_bytes()
    }
    assert found == set()

    try:
        chatty.start()
        with chatty.manager() as manager:
            query = {"action": "credential.refused"}
            refused = manager.get("/v1/audit-log", params=query).raise_for_status().json()["data"]
            log = manager.get("/v1/audit-log.csv").raise_for_status().text
    finally:
        chatty.stop()
    # Once at the API, once at a form.
    counts = {event["target"]: event["count"] for event in refused}
    assert counts[unknown.display] == 2
    assert {event["address"] for event in refused} == {"127.0.0.1"}
    assert [secret for secret in secrets if secret in log] == []
