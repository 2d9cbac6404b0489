"""Connections to addresses that were checked."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from ipaddress import IPv6Address

from backend.outbound.errors import OutboundError
from backend.outbound.networks import Address
from backend.outbound.targets import Target

CONNECT_SECONDS = 3.0
ADDRESSES_MAX = 4
# Twice as much of an answer waits in memory before the target is slowed down.
_BUFFER_BYTES = 16_384

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@cache
def system_tls_context() -> ssl.SSLContext:
    """Verifies by the system's certificate authorities, or those that ``SSL_CERT_FILE`` names.

    They take some 20 ms to load, so that it is one for the whole process.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@asynccontextmanager
async def connection_to(
    target: Target, addresses: Sequence[Address], tls: ssl.SSLContext
) -> AsyncIterator[Streams]:
    """A connection to the first of the addresses that takes one, encrypted if the target says so.

    The certificate must be good for the target's name, whatever the address. However the block is
    left, the descriptor is closed at once, without waiting for the other side.

    Raises:
        OutboundError: there is no connection to be had, or the certificate is not good.
    """
    connected = await _connect(addresses[:ADDRESSES_MAX], target.port)
    reader, writer = await _open(connected, target, tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _connect(addresses: Sequence[Address], port: int) -> socket.socket:
    reason = ""
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await _connect_to(address, port)
        except OSError as error:
            # A timeout has no number; the text of asyncio's errors would name the address.
            number = error.errno
            reason = f"none in {CONNECT_SECONDS:g} s" if number is None else os.strerror(number)
    raise OutboundError(f"the target takes no connection: {reason}")


async def _connect_to(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, (str(address), port))
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _open(connected: socket.socket, target: Target, tls: ssl.SSLContext) -> Streams:
    # From here on the socket belongs to the event loop, which closes it if the handshake fails.
    try:
        return await asyncio.open_connection(
            sock=connected,
            ssl=tls if target.is_tls else None,
            server_hostname=target.host if target.is_tls else None,
            limit=_BUFFER_BYTES,
        )
    except ssl.SSLCertVerificationError as error:
        raise OutboundError(
            f"the target's certificate was refused: {error.verify_message}"
        ) from None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or "the connection was closed"
        raise OutboundError(f"no encrypted connection to the target: {reason}") from None
