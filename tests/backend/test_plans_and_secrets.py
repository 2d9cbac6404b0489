"""A form's Turnstile members: the secret is written only, sealed, and needed for the check."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from backend.db import Database
from backend.forms.config import FormConfigs
from backend.forms.turnstile import TurnstileRules
from backend.management import Services
from backend.plans.catalogue import load_plans
from backend.sealing import NoSecretKey, Sealer
from backend.tables import accounts, forms
from contracts.forms import FormConfig, TurnstileOnOutage
from contracts.runtime.settings import Settings, SettingsError, load_settings
from tests.backend.builders import create_form

SECRET = "0x4AAAAAAA-a-canary-secret"


def settings_with(**members: Any) -> Settings:
    return load_settings(environ={}, **members)


@pytest.fixture
def sealed(services: Services, monkeypatch: pytest.MonkeyPatch) -> Sealer:
    """A sealer with a key, in the services that the client speaks to."""
    sealer = Sealer(settings_with(secret_key="a-secret-key-for-tests"))
    rules = TurnstileRules(sealer, has_server_secret=False)
    monkeypatch.setattr(services.forms, "_turnstile", rules)
    return sealer


async def config_of(database: Database, sealer: Sealer, **settings: Any) -> FormConfig:
    """The only form, as gateways see it."""
    loaded = settings_with(**settings)
    async with database.read() as connection:
        joined = select(forms, accounts.c.plan).join(accounts)
        row = (await connection.execute(joined)).one()
    return FormConfigs(loaded, load_plans(loaded), sealer).of(row)


@pytest.mark.asyncio
async def test_a_secret_turns_the_check_on_and_is_never_shown(
    client: httpx.AsyncClient, services: Services, sealed: Sealer
) -> None:
    form = await create_form(client, turnstile_secret=SECRET, turnstile_on_outage="hold")
    assert form["turnstile_enabled"] is True
    assert SECRET not in (await client.get(f"/v1/forms/{form['id']}")).text
    config = await config_of(services.database, sealed)
    assert config.turnstile is not None
    assert (config.turnstile.secret, config.turnstile.on_outage) == (SECRET, TurnstileOnOutage.HOLD)
    async with services.database.read() as connection:
        stored = (await connection.execute(select(forms.c.turnstile_secret))).scalar_one()
    assert SECRET not in str(stored)


@pytest.mark.asyncio
async def test_the_check_needs_a_secret(client: httpx.AsyncClient, sealed: Sealer) -> None:
    answer = await client.post("/v1/forms", json={"name": "x", "turnstile_enabled": True})
    assert answer.json()["errors"][0]["field"] == "turnstile_enabled"
    form = await create_form(client, turnstile_secret=SECRET)
    cleared = await client.patch(f"/v1/forms/{form['id']}", json={"turnstile_secret": None})
    assert cleared.status_code == 422
    both = {"turnstile_secret": None, "turnstile_enabled": False}
    assert (await client.patch(f"/v1/forms/{form['id']}", json=both)).status_code == 200


@pytest.mark.asyncio
async def test_a_server_without_a_secret_key_keeps_no_secret(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        services.forms, "_turnstile", TurnstileRules(Sealer(settings_with()), False)
    )
    answer = await client.post("/v1/forms", json={"name": "x", "turnstile_secret": SECRET})
    assert answer.status_code == 422
    assert "FORMFLOW_SECRET_KEY" in answer.text
    assert SECRET not in answer.text


@pytest.mark.asyncio
async def test_the_server_s_secret_serves_forms_without_one(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer = Sealer(settings_with())
    monkeypatch.setattr(services.forms, "_turnstile", TurnstileRules(sealer, True))
    form = await create_form(client)
    config = await config_of(services.database, sealer, turnstile_secret=SECRET)
    assert form["turnstile_enabled"] is True
    assert config.turnstile is not None
    assert config.turnstile.secret == SECRET


@pytest.mark.asyncio
async def test_a_secret_sealed_with_another_key_keeps_the_check_on(
    client: httpx.AsyncClient, services: Services, sealed: Sealer
) -> None:
    await create_form(client, turnstile_secret=SECRET)
    other = Sealer(settings_with(secret_key="another-key-altogether"))
    config = await config_of(services.database, other)
    assert config.turnstile is not None
    assert config.turnstile.secret == ""


def test_sealing_is_authenticated_and_needs_a_key() -> None:
    sealer = Sealer(settings_with(secret_key="a-secret-key-for-tests"))
    assert sealer.unseal(sealer.seal("text")) == "text"
    for other in (
        Sealer(settings_with(secret_key="another-key-altogether")),
        Sealer(settings_with()),
    ):
        with pytest.raises(NoSecretKey):
            other.unseal(sealer.seal("text"))


def test_a_plan_without_a_limit_is_unlimited_and_an_unlisted_one_is_the_default() -> None:
    plans = load_plans(settings_with())
    assert plans.get("free").submissions_per_month == 100
    assert plans.get("free").file_bytes == 0
    assert plans.get("gone") == plans.get("selfhost")
    assert plans.get("selfhost").submissions_per_month is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a", "FORMFLOW_PLANS_FILE"),
        ("[selfhost]\nfile_megabytes = -1\nrequests_per_minute = 1", "file_megabytes"),
        ("[selfhost]\nfile_megabytes = 1\nrequests_per_minute = 1\ntypo = 1", "typo"),
        ("[other]\nfile_megabytes = 1\nrequests_per_minute = 1", "FORMFLOW_DEFAULT_PLAN"),
    ],
)
def test_a_bad_plan_is_named(tmp_path: Any, text: str, complaint: str) -> None:
    (tmp_path / "plans.toml").write_text(text)
    with pytest.raises(SettingsError, match=complaint) as raised:
        load_plans(settings_with(plans_file=tmp_path / "plans.toml"))
    assert "\n" not in str(raised.value)
