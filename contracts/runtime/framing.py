"""Which request heads are served, and the answers that the server gives without asking the app.

httptools (llhttp in its strict mode) refuses most bad framing itself; here stands what it lets
pass. Two servers that read one byte stream differently are how requests are smuggled, so that a
head is served only if it can be read in one way (RFC 9112, sections 3, 6 and 11.2).
"""

import os
import re
from functools import lru_cache
from http import HTTPStatus

import orjson

Header = tuple[bytes, bytes]

# A field sent twice is a list (RFC 9110, 5.3), but for these: they decide where the request goes
# and where it ends.
_ONCE = (b"host", b"content-length", b"transfer-encoding")
# RFC 3986, 3.2.2, without the sub-delimiters that no host name has: a comma would be two Hosts.
_HOST = re.compile(rb"[A-Za-z0-9._~%:\[\]-]*[ \t]*")
_VERSIONS = ("1.1", "1.0")


class Refused(Exception):
    """A request that is answered by the server itself, whose connection is then closed."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def check_target(method: bytes, target: bytes) -> None:
    """Only the origin form, and ``*`` for OPTIONS, are served (RFC 9112, 3.2). Raises Refused."""
    if not target.startswith(b"/") and (method, target) != (b"OPTIONS", b"*"):
        raise _bad("The request target must be a path that begins with a slash.")


def body_length(version: str, headers: list[Header], max_headers: int) -> int | None:
    """The bytes of the request's body, 0 if it has none, None if it comes in chunks.

    The names in ``headers`` are lower-case, and the parser has checked each Content-Length to be a
    number. Raises Refused: 431 for more than ``max_headers`` fields, 400 for a missing, repeated
    or impossible Host (RFC 9112, 3.2), for another version of HTTP, for more than one framing
    field and for any Transfer-Encoding but ``chunked`` (RFC 9112, 6.1).
    """
    fields = dict(headers)
    if len(fields) != len(headers):
        _check_repeated(headers, max_headers)
    elif len(headers) > max_headers:
        raise _too_many(max_headers)
    if version not in _VERSIONS:
        raise _bad("Only HTTP/1.1 and HTTP/1.0 are served.")
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            raise _bad("The request has no Host header.")
    elif not _is_host(host):
        raise _bad("The Host header is not a host and port.")
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if coding is None:
        return int(length) if length else 0
    if length is not None:
        raise _bad("Send either Content-Length or Transfer-Encoding, not both.")
    if coding != b"chunked" or version != "1.1":
        raise _bad("The only Transfer-Encoding that is read is chunked, in HTTP/1.1.")
    return None


def raw_answer(refused: Refused, default_headers: list[Header]) -> bytes:
    """A whole HTTP/1.1 answer with a problem document (RFC 9457), after which we close."""
    status = refused.status
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "detail": refused.detail,
            "error": refused.detail,
        }
    )
    headers = [
        *default_headers,
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"access-control-allow-origin", b"*"),
        (b"x-request-id", os.urandom(8).hex().encode()),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"5"))
    lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join([*lines, b"", body])


@lru_cache(maxsize=256)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


def _check_repeated(headers: list[Header], max_headers: int) -> None:
    if len(headers) > max_headers:
        raise _too_many(max_headers)
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise _bad(f"The request has more than one {name.decode().title()} header.")


def _bad(detail: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, detail)


def _too_many(max_headers: int) -> Refused:
    return Refused(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request has more than {max_headers} headers.",
    )
