import asyncio

import httpx
import pytest

from backend.accounts.bootstrap import bootstrap
from backend.management import Services

pytestmark = pytest.mark.asyncio


async def test_the_first_start_makes_an_owner_a_form_and_a_key_that_works(
    services: Services, anonymous: httpx.AsyncClient
) -> None:
    first = await bootstrap(services)
    assert (first.owner_email, first.demo_slug) == ("owner@localhost", "demo")
    anonymous.headers["Authorization"] = f"Bearer {first.management_key}"
    [form] = (await anonymous.get("/v1/forms")).json()["data"]
    [key] = (await anonymous.get("/v1/api-keys")).json()["data"]
    assert (form["name"], form["slug"], form["status"]) == ("Demo", "demo", "live")
    assert (key["name"], key["kind"]) == ("first key", "management")


async def test_later_starts_add_nothing_and_show_no_key(
    services: Services, anonymous: httpx.AsyncClient
) -> None:
    first = await bootstrap(services)
    later = await bootstrap(services)
    assert (later.owner_email, later.demo_slug) == ("owner@localhost", "demo")
    assert (later.management_key, later.sign_in_url) == (None, None)
    anonymous.headers["Authorization"] = f"Bearer {first.management_key}"
    form = (await anonymous.get("/v1/forms")).json()["data"][0]
    await anonymous.delete(f"/v1/forms/{form['id']}")
    assert (await bootstrap(services)).demo_slug is None


async def test_of_first_starts_at_once_one_creates(services: Services) -> None:
    results = await asyncio.gather(*(bootstrap(services) for _ in range(3)))
    assert sum(result.management_key is not None for result in results) == 1
    assert sum(result.sign_in_url is not None for result in results) == 1
    assert {result.demo_slug for result in results} == {"demo"}
