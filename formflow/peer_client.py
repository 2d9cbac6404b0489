"""HTTP to a gateway or a backend at an address of the settings."""

import httpx

from contracts.runtime.endpoints import parse_peer


def peer_client(url: str, timeout_seconds: float) -> httpx.AsyncClient:
    """A client of the process at ``http://…``, ``https://…`` or ``unix:/path``. Raises ValueError:
    the URL is none of these."""
    peer = parse_peer(url)
    return httpx.AsyncClient(
        base_url=peer.origin,
        transport=httpx.AsyncHTTPTransport(uds=peer.socket_path, trust_env=False),
        timeout=timeout_seconds,
        trust_env=False,
    )
