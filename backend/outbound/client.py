"""The only client of hosts that a customer named.

Whoever may name a URL that a server calls may try to make it call its own network (server-side
request forgery). What stands against it: the URL is judged each time (``targets``), its name is
looked up once, every address is judged (``networks``), and the connection goes to one of these
very addresses. Redirects are answers like any other, and no proxy is used, whatever the environment
says.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence

from backend.outbound.connections import connection_to, system_tls_context
from backend.outbound.errors import OutboundError, TargetForbidden
from backend.outbound.exchange import Answer, Exchange
from backend.outbound.lookups import Lookups, Resolve, resolve_host
from backend.outbound.networks import Address
from backend.outbound.targets import Target, checked_address, checked_target
from contracts.runtime.settings import Settings

__all__ = ["Answer", "OutboundClient", "OutboundError", "Resolve", "TargetForbidden"]


class OutboundClient:
    """Sends POSTs, each over a connection of its own.

    Requests share nothing but the threads for looking up names: a target that hangs costs a task
    and a descriptor until its time is over. How many are under way at once is for callers to bound.
    """

    def __init__(
        self,
        settings: Settings,
        resolve: Resolve = resolve_host,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``resolve`` may block. ``tls`` says whose certificates are good; by default those of the
        system's authorities."""
        self._allow_http = settings.webhook_allow_http
        self._allowed_networks = settings.webhook_allow_cidrs
        self._lookups = Lookups(resolve)
        self._tls = tls

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], timeout_seconds: float = 10.0
    ) -> Answer:
        """The answer, of any status. All of it, looking up the name included, is over within
        ``timeout_seconds``; an answer that is not complete by then is none.

        Raises:
            TargetForbidden: the URL, or an address of its host, may not be called.
            OutboundError: there was no answer, or no complete one.
        """
        target = checked_target(
            url, allow_http=self._allow_http, allowed_networks=self._allowed_networks
        )
        exchange = Exchange(target, content, headers)
        try:
            async with asyncio.timeout(timeout_seconds):
                addresses = await self._addresses_of(target)
                # Loaded when it is first wanted: a command makes these services, too.
                tls = self._tls or system_tls_context()
                async with connection_to(target, addresses, tls) as (reader, writer):
                    return await exchange.carry_out(reader, writer)
        except TimeoutError:
            raise OutboundError(f"the target did not answer within {timeout_seconds:g} s") from None

    async def close(self) -> None:
        """Lets go of the lookups that are under way; requests are their callers' to end."""
        await self._lookups.close()

    async def _addresses_of(self, target: Target) -> Sequence[Address]:
        if target.address is not None:
            return [target.address]
        addresses = await self._lookups.addresses_of(target.host)
        return [checked_address(address, self._allowed_networks) for address in addresses]
