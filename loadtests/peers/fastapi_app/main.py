"""The peer ``fastapi``: what people write in Python, FastAPI with slowapi and aiosqlite.

Environment: ``PEER_DATABASE`` is the file to create, ``PEER_POSTS_PER_MINUTE`` a visitor's limit.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.datastructures import FormData

from .submissions import Refused, Submissions

_LIMIT = f"{os.environ['PEER_POSTS_PER_MINUTE']}/minute"


class Receipt(BaseModel):
    """What a stored post is answered; ``received_at`` is Unix milliseconds."""

    id: str
    received_at: int
    ok: bool = True


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens and closes the database."""
    app.state.submissions = await Submissions.open(os.environ["PEER_DATABASE"])
    yield
    await app.state.submissions.close()


app = FastAPI(lifespan=lifespan)
# uvicorn has put the address that the trusted proxy forwarded in the place of the proxy's own.
app.state.limiter = limiter = Limiter(
    key_func=get_remote_address, strategy="sliding-window-counter"
)
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)


@app.exception_handler(Refused)
async def answer_refusal(request: Request, refused: Refused) -> JSONResponse:
    """A refusal as JSON."""
    return JSONResponse({"error": str(refused)}, refused.status)


@app.post("/v1/f/{slug}")
@limiter.limit(_LIMIT)
async def post_form(
    request: Request,
    slug: str,
    idempotency_key: Annotated[str | None, Header(pattern=r"^[\x21-\x7e]{1,255}$")] = None,
) -> Receipt:
    """Stores a post of whatever fields."""
    content_type, _, _ = request.headers.get("content-type", "").partition(";")
    if content_type != "application/x-www-form-urlencoded":
        raise HTTPException(415, "send the form urlencoded")
    payload = payload_of(await request.form())
    stored = await app.state.submissions.store(slug, payload, idempotency_key)
    return Receipt(id=stored.id, received_at=stored.received_at)


@app.get("/durability")
async def durability() -> dict[str, str]:
    """What the database says of itself."""
    return dict(await app.state.submissions.durability())


def payload_of(form: FormData) -> dict[str, Any]:
    """The fields; one that was sent repeatedly has a list."""
    payload: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in payload:
            earlier = payload[name]
            payload[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        else:
            payload[name] = value
    return payload
