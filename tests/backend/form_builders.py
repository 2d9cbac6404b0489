"""Credentials of less than all reach, and plans of the test's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from backend.access import Principal, Reach
from backend.api import finish_app
from backend.management import Services, create_services, management_routes
from tests.backend.builders import Account


def reaching(account: Account, **reach: Any) -> Principal:
    """A caller who may do everything, with the forms of this reach."""
    return replace(account.principal, reach=Reach(**reach))


def with_plan(services: Services, directory: Path, **limits: int) -> Services:
    """The services as they are where there is only one plan, ``only``, of these limits."""
    limits = {"file_megabytes": 1, "requests_per_minute": 1_000} | limits
    path = directory / "plans.toml"
    path.write_text("\n".join(["[only]", *(f"{name} = {limits[name]}" for name in limits)]))
    changes = {"plans_file": path, "default_plan": "only"}
    settings = services.settings.model_copy(update=changes)
    return create_services(settings, services.clock, services.database, hash_cost=4)


def client_of(services: Services, account: Account) -> httpx.AsyncClient:
    """A client with the account's key."""
    app = Starlette(routes=management_routes(services))
    finish_app(app, services.settings.problem_base, services.clock, services)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://backend", headers=account.headers
    )
