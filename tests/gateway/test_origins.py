"""Which sites may post to a form: the listed ones, under every spelling that names them."""

import pytest

from contracts.origins import normalise_origin, normalise_pattern
from contracts.problems import Problem, Rejected
from gateway.origins import check_origin

APEX = "https://example.com"
PORT = "https://example.com:8443"
WILD = "https://*.example.com"


@pytest.mark.parametrize(
    ("allowed", "origin", "echoed"),
    [
        (APEX, "https://example.com", "https://example.com"),
        (APEX, "HTTPS://EXAMPLE.COM", "https://example.com"),
        (APEX, "https://example.com:443", "https://example.com"),
        ("https://Example.com:443", "https://example.com", "https://example.com"),
        ("http://example.com", "http://example.com:80", "http://example.com"),
        (PORT, "https://example.com:8443", "https://example.com:8443"),
        (WILD, "https://www.example.com", "https://www.example.com"),
        (WILD, "https://a.b.example.com", "https://a.b.example.com"),
        (WILD, "https://www.example.com:443", "https://www.example.com"),
        ("https://*.example.com:8443", "https://a.example.com:8443", "https://a.example.com:8443"),
        ("https://*.EXAMPLE.com", "https://a.example.COM", "https://a.example.com"),
        ("http://localhost:3000", "http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", None),
        ("https://my_site.example.com", "https://my_site.example.com", None),
    ],
)
def test_a_listed_site_may_post(allowed: str, origin: str, echoed: str | None) -> None:
    assert check_origin(origin.encode(), None, (allowed,)) == (echoed or origin)


@pytest.mark.parametrize(
    ("allowed", "origin"),
    [
        (APEX, "null"),
        ("null", "null"),
        (APEX, ""),
        (APEX, "http://example.com"),
        (APEX, "https://example.com:8443"),
        (APEX, "https://www.example.com"),
        (APEX, "https://example.com.evil.example"),
        (APEX, "https://evil-example.com"),
        (APEX, "https://example.com@evil.example"),
        (APEX, "https://evil.example/https://example.com"),
        (APEX, "https://example.com/"),
        (APEX, "https://example.com."),
        (APEX, "https://example.com:"),
        (APEX, "https://example.com:0443"),
        (APEX, "https://example.com:443443"),
        (APEX, "https://example.com, https://example.com"),
        (APEX, "https://example.com https://evil.example"),
        (APEX, "https://example.com\t"),
        (APEX, "https:\\\\example.com"),
        (APEX, "https://evil.example\\.example.com"),
        (APEX, "https://ex\u00e4mple.com"),
        (APEX, "//example.com"),
        (APEX, "example.com"),
        (APEX, "chrome-extension://example.com"),
        (PORT, "https://example.com"),
        (WILD, "https://example.com"),
        (WILD, "https://.example.com"),
        (WILD, "https://*.example.com"),
        (WILD, "https://evilexample.com"),
        (WILD, "http://www.example.com"),
        (WILD, "https://www.example.com:8443"),
        (WILD, "https://www.example.com.evil.example"),
        ("https://*.com", "https://example.com"),
        ("*", "https://example.com"),
        ("https://*", "https://example.com"),
        ("https://www.*.com", "https://www.example.com"),
        ("http://127.1", "http://127.0.0.1"),
    ],
)
def test_another_site_may_not(allowed: str, origin: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_origin(origin.encode("latin-1"), None, (allowed,))
    assert refused.value.problem is Problem.ORIGIN_NOT_ALLOWED


@pytest.mark.parametrize(
    ("referer", "is_allowed"),
    [
        ("https://example.com", True),
        ("https://example.com/contact?a=https://evil.example", True),
        ("https://EXAMPLE.com:443/#top", True),
        ("https://example.com?a", True),
        ("https://evil.example/https://example.com/", False),
        ("https://example.com@evil.example/", False),
        ("https://example.com\\@evil.example/", False),
        ("https://example.com.evil.example/", False),
        ("about:client", False),
        ("/contact", False),
        ("", False),
        (None, False),
    ],
)
def test_without_an_origin_the_referer_counts(referer: str | None, is_allowed: bool) -> None:
    sent = None if referer is None else referer.encode()
    if is_allowed:
        assert check_origin(None, sent, (APEX,)) is None
    else:
        with pytest.raises(Rejected):
            check_origin(None, sent, (APEX,))


def test_a_good_referer_does_not_mend_an_origin() -> None:
    for origin in (b"null", b"", b"https://evil.example"):
        with pytest.raises(Rejected):
            check_origin(origin, b"https://example.com/", (APEX,))


def test_a_form_that_lists_no_site_takes_posts_from_all() -> None:
    assert check_origin(None, None, ()) is None
    assert check_origin(b"https://evil.example", None, ()) is None


def test_any_of_several_sites_may_post() -> None:
    allowed = ("https://other.example", "not an origin", WILD, APEX)
    assert check_origin(b"https://example.com", None, allowed) == APEX
    assert check_origin(b"https://a.example.com", None, allowed) == "https://a.example.com"


def test_a_refusal_names_the_site_only_if_it_is_one() -> None:
    with pytest.raises(Rejected, match="https://evil.example may not post"):
        check_origin(b"https://evil.example", None, (APEX,))
    with pytest.raises(Rejected, match="A page that does not say where it is"):
        check_origin(b"<script>", None, (APEX,))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("HTTPS://*.Example.com:443", "https://*.example.com"),
        ("https://*.co.uk", "https://*.co.uk"),
        ("https://example.com", "https://example.com"),
        ("https://*.com", None),
        ("https://*.*.com", None),
        ("https://*.0.0.1", None),
        ("https://*", None),
        ("https://a*.example.com", None),
        ("https://user@example.com", None),
        ("https://example.com/path", None),
        ("https://example.com:65536", None),
        ("https://example.com:0", None),
        ("http://256.1.1.1", None),
        ("http://[::1", None),
        ("http://[::1%25eth0]", None),
        (f"https://{'a' * 64}.example", None),
        (f"https://{'a.' * 126}aa", None),
        ("ftp://example.com", None),
        ("\u212a.example", None),
        ("", None),
    ],
)
def test_a_pattern_is_written_one_way_or_refused(text: str, normal: str | None) -> None:
    assert normalise_pattern(text) == normal


def test_a_pattern_is_no_origin() -> None:
    assert normalise_origin(WILD) is None
