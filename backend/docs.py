"""``/docs``: the OpenAPI document for people, by Swagger UI, which is served from here.

The policy lets the page load and ask nothing but this server, and run nothing but these files.
"""

from functools import cache
from importlib.resources import files

from starlette.responses import Response

from backend.answers import missing
from backend.operations import Call, Operation

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "viewer.js": "text/javascript",
}
_CACHED_SECONDS = 3600


async def get_docs(_: Call) -> Response:
    return Response(
        _content("index.html"),
        headers={
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        media_type="text/html",
    )


async def get_docs_asset(call: Call) -> Response:
    media_type = _MEDIA_TYPES.get(call.path["asset"])
    if media_type is None:
        raise missing("file")
    headers = {
        "Cache-Control": f"max-age={_CACHED_SECONDS}",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_content(call.path["asset"]), headers=headers, media_type=media_type)


@cache
def _content(name: str) -> bytes:
    return (files("backend") / "docs_viewer" / name).read_bytes()


operations = (
    Operation(
        method="GET",
        path="/docs",
        handler=get_docs,
        summary="This document for people",
        right=None,
        media_type="text/html",
    ),
    Operation(
        method="GET",
        path="/docs/{asset}",
        handler=get_docs_asset,
        summary="What the page of the documentation consists of",
        right=None,
        media_type="text/*",
    ),
)
