"""The console, gathered: its pages, its files, and the routes of both."""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route

from backend.console import (
    account,
    audit,
    keys,
    mailbox,
    members,
    overview,
    sign_in,
    single_sign_on,
    usage,
)
from backend.console.forms.pages import pages as form_pages
from backend.console.pages import Page, routes_of
from backend.console.rendering import ASSETS, Renderer, get_asset
from backend.console.submissions.pages import pages as submission_pages
from backend.console.webhooks.pages import pages as webhook_pages
from backend.operations import Operation
from backend.services import Services

PAGES: tuple[Page, ...] = (
    *sign_in.pages,
    *single_sign_on.pages,
    *overview.pages,
    *form_pages,
    *keys.pages,
    *submission_pages,
    *webhook_pages,
    *usage.pages,
    *audit.pages,
    *members.pages,
    *mailbox.pages,
    *account.pages,
)


def console_routes(services: Services, operations: Sequence[Operation]) -> list[BaseRoute]:
    """The routes of the console; its pages do what they do through these operations."""
    renderer = Renderer(services)
    return [
        Route(f"{ASSETS}/{{name}}", get_asset),
        *routes_of(PAGES, operations, services, renderer),
    ]
