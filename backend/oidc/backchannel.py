"""Where the identity provider says that a session of its has ended (OpenID Connect Back-Channel
Logout 1.0, 2.5). It comes from the provider's server, without a cookie; its signature is its
credential."""

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from backend.answers import json_response
from backend.oidc.errors import BadToken, ProviderUnreachable
from backend.oidc.registration import BACKCHANNEL_LOGOUT
from contracts.runtime.telemetry import get_logger

if TYPE_CHECKING:
    from backend.services import Services

_BODY_MAX = 131_072
_HEADERS = {"Cache-Control": "no-store"}
_log = get_logger("backend")


def backchannel_routes(services: "Services") -> list[Route]:
    """The route of logout tokens, where there is a provider."""
    provider = services.identity_provider
    if provider is None:
        return []
    single_sign_on = provider.single_sign_on

    async def log_out(request: Request) -> Response:
        try:
            count = await single_sign_on.end_by_logout_token(await _token_of(request))
        except (BadToken, ProviderUnreachable) as error:
            # A good token is never refused for its rate: the provider does not repeat it.
            caller = services.access.caller_of(request)
            await services.api_limits.admit_anonymous(request, caller.address)
            _log.warning("a logout token is refused", reason=str(error))
            problem = {"error": "invalid_request", "error_description": str(error)}
            return json_response(problem, 400, _HEADERS)
        _log.info("sessions ended with those of the identity provider", count=count)
        return Response(headers=_HEADERS)

    return [Route(BACKCHANNEL_LOGOUT, log_out, methods=["POST"])]


async def _token_of(request: Request) -> str:
    """The token in the form that is posted. Raises BadToken."""
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > _BODY_MAX:
                raise BadToken("the request is too long")
        fields = parse_qsl(content.decode("ascii"), max_num_fields=10)
    except (ValueError, ClientDisconnect):
        raise BadToken("the request is no form") from None
    tokens = [value for name, value in fields if name == "logout_token"]
    if len(tokens) != 1:
        raise BadToken("the request has not one logout_token")
    return tokens[0]
