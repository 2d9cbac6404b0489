"""What can go wrong between this server and the identity provider."""


class ProviderUnreachable(Exception):
    """The provider gave no answer, or none that can be used; nothing follows from it. The message
    says why, without a secret."""


class BadToken(Exception):
    """A token is not what it should be; the message says why, without its content."""


class SignInRefused(Exception):
    """Somebody is not signed in; ``detail`` tells them why and what to do, ``status`` is HTTP's."""

    def __init__(self, detail: str, status: int = 403) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
