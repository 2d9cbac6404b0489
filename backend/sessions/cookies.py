"""The cookies of the console.

``__Host-`` makes a browser accept one from this very host only, with ``Secure`` and the path ``/``
(RFC 6265bis, 4.1.3.2), so that no neighbouring host can set one over it. Without TLS, which is for
trying things out on one's own machine, neither is possible.
"""

from dataclasses import dataclass

_HOST_PREFIX = "__Host-"


@dataclass(frozen=True, slots=True)
class HostCookie:
    """A cookie of this host that no script reads. Another site's links send it, its forms do not:
    ``SameSite=Lax``."""

    name: str

    def kept(self, value: str, max_age_seconds: int, *, secure: bool) -> str:
        """The value of ``Set-Cookie`` that makes a browser keep the cookie for so long."""
        end = "; Secure" if secure else ""
        return (
            f"{self._name(secure)}={value}; Max-Age={max_age_seconds}; "
            f"Path=/; HttpOnly; SameSite=Lax{end}"
        )

    def forgotten(self, *, secure: bool) -> str:
        """The value of ``Set-Cookie`` that makes a browser forget it."""
        return self.kept("", 0, secure=secure)

    def value_in(self, cookies: str, *, secure: bool) -> str | None:
        """The value in a ``Cookie`` header. None if there is none, or several: then one of them was
        set by somebody else, and nobody knows which."""
        name = self._name(secure)
        pairs = (pair.partition("=") for pair in cookies.split(";"))
        values = [value.strip() for key, _, value in pairs if key.strip() == name]
        return values[0] or None if len(values) == 1 else None

    def _name(self, secure: bool) -> str:
        return _HOST_PREFIX + self.name if secure else self.name


_SESSION = HostCookie("formflow_session")


def is_secure(origin: str) -> bool:
    """Whether cookies of a site that clients know as ``origin`` can be had over TLS only."""
    return origin.startswith("https://")


def session_cookie(token: str, max_age_seconds: int, *, secure: bool) -> str:
    """The value of ``Set-Cookie`` that makes a browser keep a session's token for so long."""
    return _SESSION.kept(token, max_age_seconds, secure=secure)


def no_session_cookie(*, secure: bool) -> str:
    """The value of ``Set-Cookie`` that makes a browser forget it."""
    return _SESSION.forgotten(secure=secure)


def token_in(cookies: str, *, secure: bool) -> str | None:
    """The session's token in a ``Cookie`` header; None if there is none, or several."""
    return _SESSION.value_in(cookies, secure=secure)
