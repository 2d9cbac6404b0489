"""The cookie of a session, and what keeps other sites from using it."""

import pytest

from backend.sessions.cookies import is_secure, no_session_cookie, session_cookie, token_in
from backend.sessions.csrf import csrf_token, is_csrf_token, is_own_origin
from backend.tokens import is_token, mint_token

TOKEN = mint_token("ff_ses_")


def test_a_cookie_over_tls_is_of_this_host_only() -> None:
    assert session_cookie(TOKEN, 3600, secure=True) == (
        f"__Host-formflow_session={TOKEN}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax; Secure"
    )


def test_a_cookie_without_tls_has_another_name() -> None:
    assert session_cookie(TOKEN, 3600, secure=False) == (
        f"formflow_session={TOKEN}; Max-Age=3600; Path=/; HttpOnly; SameSite=Lax"
    )


@pytest.mark.parametrize("secure", [True, False])
def test_what_is_set_is_read_and_forgotten(secure: bool) -> None:
    sent = session_cookie(TOKEN, 3600, secure=secure).partition(";")[0]
    assert token_in(sent, secure=secure) == TOKEN
    assert token_in(f"theme=dark; {sent};other=1", secure=secure) == TOKEN
    assert token_in(sent, secure=not secure) is None
    gone = no_session_cookie(secure=secure)
    assert "Max-Age=0" in gone
    assert token_in(gone.partition(";")[0], secure=secure) is None


@pytest.mark.parametrize("cookies", ["", "formflow_session", "x=formflow_session=1", ";;", "=; ="])
def test_without_the_cookie_there_is_no_token(cookies: str) -> None:
    assert token_in(cookies, secure=False) is None


def test_of_two_cookies_neither_counts() -> None:
    """Another port of the host, or a path of it, can set one beside ours."""
    other = mint_token("ff_ses_")
    sent = f"formflow_session={other}; formflow_session={TOKEN}"
    assert token_in(sent, secure=False) is None


def test_a_site_is_secure_by_its_scheme() -> None:
    assert is_secure("https://forms.example.com")
    assert not is_secure("http://127.0.0.1:8787")


def test_a_csrf_token_is_that_of_its_session() -> None:
    token = csrf_token(TOKEN)
    assert token == csrf_token(TOKEN)
    assert is_csrf_token(token, TOKEN)
    for wrong in ("", token[:-1], token + "A", csrf_token(mint_token("ff_ses_")), TOKEN, "é"):
        assert not is_csrf_token(wrong, TOKEN)


def test_a_csrf_token_tells_nothing_of_the_session() -> None:
    token = csrf_token(TOKEN)
    assert TOKEN not in token
    assert token.isascii()
    assert len(token) == 43


@pytest.mark.parametrize(
    ("sent", "is_ours"),
    [
        ("https://forms.example.com", True),
        ("https://forms.example.com:443", True),
        ("HTTPS://Forms.Example.com", True),
        ("http://forms.example.com", False),
        ("https://forms.example.com:8443", False),
        ("https://example.com", False),
        ("https://forms.example.com.evil.test", False),
        ("https://forms.example.com/", False),
        ("null", False),
        ("", False),
        (None, False),
    ],
)
def test_a_request_comes_from_our_own_origin(sent: str | None, is_ours: bool) -> None:
    assert is_own_origin(sent, "https://forms.example.com") is is_ours


def test_on_ones_own_machine_the_port_counts() -> None:
    own = "http://127.0.0.1:8787"
    assert is_own_origin("http://127.0.0.1:8787", own)
    assert not is_own_origin("http://127.0.0.1:9999", own)
    assert not is_own_origin("http://localhost:8787", own)


def test_a_typo_is_no_token() -> None:
    assert is_token(TOKEN, "ff_ses_")
    swapped = TOKEN[:20] + ("a" if TOKEN[20] != "a" else "b") + TOKEN[21:]
    for wrong in (swapped, TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "", "ff_ses_", f" {TOKEN}"):
        assert not is_token(wrong, "ff_ses_")
    assert not is_token(TOKEN, "ff_link_")
    assert TOKEN != mint_token("ff_ses_")


def test_nothing_is_the_same_as_what_is_no_origin() -> None:
    assert not is_own_origin(None, "forms.example.com")
    assert not is_own_origin("null", "null")
