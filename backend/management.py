"""The management API, gathered."""

from functools import cache

import orjson
from pydantic import BaseModel
from starlette.responses import Response
from starlette.routing import Route

from backend.accounts.routes import operations as account_operations
from backend.api import Call, Operation, routes_of
from backend.audit.routes import operations as audit_operations
from backend.delivery.routes import operations as delivery_operations
from backend.docs import operations as docs_operations
from backend.environments.routes import operations as environment_operations
from backend.forms.routes import operations as form_operations
from backend.gateways.routes import operations as gateway_operations
from backend.imports.routes import operations as import_operations
from backend.keys.routes import operations as key_operations
from backend.mail.mailbox_routes import operations as mailbox_operations
from backend.mail.unsubscribe_routes import operations as unsubscribe_operations
from backend.members.routes import operations as member_operations
from backend.openapi.document import document
from backend.plans.routes import operations as plan_operations
from backend.probes.routes import operations as probe_operations
from backend.services import Services, create_services
from backend.sessions.routes import operations as session_operations
from backend.submissions.downloads import operations as export_operations
from backend.submissions.files import operations as file_operations
from backend.submissions.routes import operations as submission_operations
from backend.usage.routes import operations as usage_operations
from backend.webhooks.routes import operations as webhook_operations
from contracts import VERSION

__all__ = ["OPERATIONS", "Services", "create_services", "management_routes"]


class Health(BaseModel):
    """The server answers."""

    status: str = "ok"
    version: str = VERSION


async def get_health(_: Call) -> Health:
    return Health()


async def get_openapi(_: Call) -> Response:
    return Response(_openapi(), media_type="application/json")


async def get_openapi_yaml(_: Call) -> Response:
    # JSON is valid YAML 1.2.
    return Response(_openapi(), media_type="application/yaml")


OPERATIONS: tuple[Operation, ...] = (
    *form_operations,
    *probe_operations,
    *submission_operations,
    *export_operations,
    *import_operations,
    *file_operations,
    *webhook_operations,
    *delivery_operations,
    *key_operations,
    *environment_operations,
    *account_operations,
    *member_operations,
    *session_operations,
    *plan_operations,
    *usage_operations,
    *gateway_operations,
    *audit_operations,
    *mailbox_operations,
    *unsubscribe_operations,
    Operation(
        method="GET",
        path="/v1/health",
        handler=get_health,
        summary="Whether the server answers, and its version",
        right=None,
        answer=Health,
    ),
    Operation(
        method="GET",
        path="/openapi",
        handler=get_openapi,
        summary="This document as JSON",
        right=None,
    ),
    Operation(
        method="GET",
        path="/openapi.yaml",
        handler=get_openapi_yaml,
        summary="This document as YAML",
        right=None,
        media_type="application/yaml",
    ),
    *docs_operations,
)


def management_routes(services: Services) -> list[Route]:
    """The routes of the management API; put the app that has them through ``finish_app``."""
    return routes_of(OPERATIONS, services)


@cache
def _openapi() -> bytes:
    return orjson.dumps(document(OPERATIONS))
