"""A post: what a visitor sends, before acceptance, with the facts of its request."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.addresses import ClientAddress
from contracts.probes import META_MEMBER, PROBE_HEADER
from contracts.runtime.clock import Clock
from contracts.runtime.ratelimit import Decision
from gateway.parsing.fields import Body
from gateway.trace import Trace

_SHORT_BYTES = 65_536
_USER_AGENT_MAX = 512
_REFERRER_MAX = 2_048
_HEADERS = frozenset(
    {
        b"accept",
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"formspree-client",
        b"host",
        b"idempotency-key",
        b"origin",
        b"referer",
        b"transfer-encoding",
        b"user-agent",
        b"x-requested-with",
        PROBE_HEADER,
    }
)


@dataclass(slots=True)
class Post:
    """One request to the ingest endpoint, and what the checks have found so far.

    ``received_at`` is Unix milliseconds; ``account_id`` the form's, once the form is known;
    ``rate`` the rate limit's decision, once it is made;
    ``allowed_origin`` the request's origin, if the form restricts them and it matched;
    ``is_probe`` whether the form's owner sent it to see whether the chain holds.
    """

    slug: str
    method: str
    request_id: str
    received_at: int
    scheme: str
    client: str
    headers: Mapping[bytes, bytes]
    trace: Trace
    account_id: str | None = None
    rate: Decision | None = None
    body: Body | None = None
    allowed_origin: str | None = None
    is_probe: bool = False

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes. The server has refused malformed ones."""
        text = self.headers.get(b"content-length")
        return int(text) if text is not None and text.isdigit() else None

    @property
    def has_long_body(self) -> bool:
        """Whether the body is long, or may be: then a refusal does not wait for its end."""
        length = self.content_length
        return b"transfer-encoding" in self.headers if length is None else length > _SHORT_BYTES

    @property
    def meta(self) -> dict[str, Any]:
        """What is stored beside the payload."""
        meta: dict[str, Any] = {"ip": self.client}
        if agent := self.headers.get(b"user-agent"):
            meta["user_agent"] = _text(agent, _USER_AGENT_MAX)
        if referrer := self.headers.get(b"referer"):
            meta["referrer"] = _text(referrer, _REFERRER_MAX)
        if self.body is not None and self.body.charset_guessed:
            meta["charset_guessed"] = True
        if self.is_probe:
            meta[META_MEMBER] = True
        return meta

    @property
    def origin(self) -> str:
        """Where this gateway is, as the client addressed it."""
        return f"{self.scheme}://{self.headers.get(b'host', b'').decode('latin-1')}"

    @property
    def is_from_formspree_client(self) -> bool:
        """Whether Formspree's client library sent it, which takes an answer for a success only if
        ``next`` is a string (https://github.com/formspree/formspree-js)."""
        return b"formspree-client" in self.headers

    @property
    def is_from_program(self) -> bool:
        """Whether a program sent it, which reads JSON, rather than a browser, which shows pages."""
        accept = self.headers.get(b"accept", b"*/*").lower()
        return (
            b"text/html" not in accept
            or b"application/json" in accept
            or b"x-requested-with" in self.headers
            or self.headers.get(b"content-type", b"").lower().startswith(b"application/json")
        )


class PostReader:
    """Makes a post of an ASGI scope."""

    def __init__(self, client_address: ClientAddress, clock: Clock, prefix: str) -> None:
        self._client_address = client_address
        self._clock = clock
        self._prefix = prefix
        self._wanted = _HEADERS | client_address.wanted_headers

    def read(self, scope: Mapping[str, Any], request_id: str) -> Post:
        """The post, without its body."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in self._wanted:
                # Only lists (forwarding headers) may be sent in pieces; joining is how they read.
                headers[name] = headers[name] + b", " + value if name in headers else value
        peer = scope.get("client")
        return Post(
            slug=scope["path"][len(self._prefix) :],
            method=scope["method"],
            request_id=request_id,
            received_at=self._clock.now_ms(),
            scheme=scope["scheme"],
            client=self._client_address.of(peer[0] if peer else "", headers),
            headers=headers,
            trace=Trace(self._clock),
        )


def _text(value: bytes, length_max: int) -> str:
    return value.decode("latin-1")[:length_max]
