"""The OpenAPI description of what processes tell of themselves."""

from typing import Any

_READINESS = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
}


def _get(operation_id: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation_id,
            "summary": summary,
            "tags": ["about"],
            "security": [],
            "parameters": [],
            "responses": responses,
        }
    }


def _json(description: str, status: str) -> dict[str, Any]:
    content = {"schema": _READINESS, "example": {"status": status}}
    return {"description": description, "content": {"application/json": content}}


PROCESS_PATHS: dict[str, Any] = {
    "/livez": _get("get_liveness", "Whether the process lives", {"200": _json("It does.", "ok")}),
    "/readyz": _get(
        "get_readiness",
        "Whether the process takes requests",
        {"200": _json("It does.", "ready"), "503": _json("Send them elsewhere.", "unready")},
    ),
    "/metrics": _get(
        "get_metrics",
        "Figures for Prometheus",
        {
            "200": {
                "description": "In Prometheus's text format.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    ),
}
