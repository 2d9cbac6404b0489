"""HTTP of the link that ends mails: a page that asks, because scanners of mail follow every link,
and a ``POST`` that does it, for the page's button as for a mail program (RFC 8058)."""

import base64
import hashlib

from pydantic import BaseModel, Field
from starlette.responses import Response

from backend.mail.rendering import rendered_page
from backend.mail.unsubscribe import PATH
from backend.operations import Call, Operation

# Markup of ours and quotes would be escaped by the template: there are none.
_STYLE = (
    ":root{color-scheme:light dark;--line:#dde2e0;--mark:#1a7f4b;--on:#fff}"
    "@media (prefers-color-scheme:dark){:root{--line:#343a41;--mark:#5fd39a;--on:#10251a}}"
    "*{box-sizing:border-box}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;"
    "font:1rem/1.55 system-ui,sans-serif}"
    "main{width:100%;max-width:34rem;padding:2rem;border:1px solid var(--line);"
    "border-radius:.75rem;overflow-wrap:anywhere}"
    "h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}"
    "button{margin-top:.5rem;padding:.7rem 1.4rem;border:0;border-radius:.5rem;cursor:pointer;"
    "background:var(--mark);color:var(--on);font:inherit;font-weight:600}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class UnsubscribeQuery(BaseModel):
    """What the link in a mail says. Mail programs add parameters of their own."""

    form_id: str = Field(description="The form that notifies.")
    signature: str = Field(description="As the link in the mail has it.", examples=["5f2d…"])


async def get_unsubscribe(call: Call) -> Response:
    query: UnsubscribeQuery = call.query
    found = await call.services.unsubscriptions.find(query.form_id, query.signature)
    if found is None:
        return _page("No mails any more", "Nothing is sent to this address for the form.")
    return _page(
        "Unsubscribe?",
        f"Mails about new submissions to “{found.form.name}” go to {found.address}.",
        asks=True,
    )


async def unsubscribe(call: Call) -> Response:
    query: UnsubscribeQuery = call.query
    caller = call.principal.caller
    await call.services.unsubscriptions.end(query.form_id, query.signature, caller)
    return _page("You are unsubscribed", "This form sends no more mails to your address.")


def _page(title: str, message: str, *, asks: bool = False) -> Response:
    values = {"title": title, "message": message, "asks": asks, "style": _STYLE}
    return Response(
        rendered_page("unsubscribe", values),
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        media_type="text/html",
    )


operations = (
    Operation(
        method="GET",
        path=PATH,
        handler=get_unsubscribe,
        summary="The page that asks whether to end a form's mails to an address",
        right=None,
        query=UnsubscribeQuery,
        media_type="text/html",
    ),
    Operation(
        method="POST",
        path=PATH,
        handler=unsubscribe,
        summary="End a form's mails to an address, by the link in one of them",
        right=None,
        query=UnsubscribeQuery,
        media_type="text/html",
    ),
)
