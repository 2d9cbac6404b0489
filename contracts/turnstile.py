"""What both processes must know of Cloudflare Turnstile."""

# https://developers.cloudflare.com/turnstile/troubleshooting/testing/
DUMMY_SECRETS = frozenset(
    {
        "1x0000000000000000000000000000000AA",
        "2x0000000000000000000000000000000AA",
        "3x0000000000000000000000000000000AA",
    }
)


def is_dummy_secret(secret: str) -> bool:
    """Whether it is one of Cloudflare's published test secrets, which protect nothing: they always
    pass, always fail, or always say that the token was used."""
    return secret.strip() in DUMMY_SECRETS
