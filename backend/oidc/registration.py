"""What this server is to the identity provider: its registration there."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from backend.sealing import Sealer
from contracts.runtime.settings import Settings, SettingsError

START = "/sign-in/oidc"
CALLBACK = "/sign-in/oidc/callback"
BACKCHANNEL_LOGOUT = "/v1/auth/oidc/backchannel-logout"
_AFTER_SIGN_OUT = "/sign-in"
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Registration:
    """The provider by its issuer identifier, and what was agreed with it. ``origin`` is this
    server's; ``name`` is the provider's for people."""

    issuer: str
    client_id: str
    client_secret: str | None = field(repr=False)
    scopes: tuple[str, ...]
    name: str
    origin: str

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to."""
        return self.origin + CALLBACK

    @property
    def post_logout_redirect_uri(self) -> str:
        """Where it sends people whom it has signed out."""
        return self.origin + _AFTER_SIGN_OUT

    def is_endpoint(self, url: object) -> bool:
        """Whether what the provider publishes as an endpoint may be one: ``https``, or ``http`` on
        this machine if the provider itself is there."""
        if not isinstance(url, str) or not url.isascii() or not url.isprintable():
            return False
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not host or parts.fragment or "@" in parts.netloc:
            return False
        is_local = self.issuer.startswith("http://") and host in _LOOPBACK
        return parts.scheme == "https" or (parts.scheme == "http" and is_local)


def registration_of(settings: Settings, sealer: Sealer) -> Registration | None:
    """The registration that the settings describe; None if nobody signs in by a provider.

    Raises:
        SettingsError: a setting is missing that an issuer needs.
    """
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id:
        raise SettingsError("FORMFLOW_OIDC_CLIENT_ID must be set: FORMFLOW_OIDC_ISSUER needs it")
    if not sealer.has_key:
        raise SettingsError(
            "FORMFLOW_SECRET_KEY must be set to a secret of at least 16 characters: "
            "FORMFLOW_OIDC_ISSUER needs it"
        )
    secret = settings.oidc_client_secret
    return Registration(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else None,
        scopes=tuple(settings.oidc_scopes.split()),
        name=settings.oidc_name,
        origin=settings.public_origin(),
    )
