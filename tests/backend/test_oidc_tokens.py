"""ID tokens that are not what they must be, and keys that change."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import orjson
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from backend.management import Services
from backend.oidc.kept import PAUSE_SECONDS
from tests.backend.builders import Account
from tests.backend.oidc_builders import Browser, browsing, services_with
from tests.backend.session_builders import join
from tests.support.clock import ManualClock
from tests.support.jose import encoded, other_key, signed, signed_with_text
from tests.support.mini_oidc import CLIENT_ID, MiniOidc, running_provider

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
]


@pytest.fixture
def provider(clock: ManualClock) -> Iterator[MiniOidc]:
    with running_provider(clock) as provider:
        yield provider


@pytest_asyncio.fixture
async def services(
    provider: MiniOidc, database_url: str, clock: ManualClock
) -> AsyncIterator[Services]:
    async with services_with(provider, database_url, clock) as services:
        yield services


@pytest_asyncio.fixture
async def browser(services: Services, account: Account) -> AsyncIterator[Browser]:
    """A browser; whom the provider signs in is a member."""
    await join(services, account, "editor", email="ada@example.com")
    async with browsing(services) as browser:
        yield browser


def unsigned(claims: Mapping[str, Any], algorithm: str = "none") -> str:
    """A token without a signature."""
    parts = [orjson.dumps({"alg": algorithm, "typ": "JWT"}), orjson.dumps(dict(claims))]
    texts = [encoded(part) for part in parts]
    return ".".join([*texts, ""])


async def refused(browser: Browser) -> None:
    """Nobody is signed in."""
    answer = await browser.sign_in()
    assert answer.status_code == 502
    assert "cannot be verified" in answer.text
    assert browser.token == ""


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("RSA", "RS256"), ("RSA", "PS256"), ("EC", "ES256"), ("OKP", "EdDSA"), ("OKP", "Ed25519")],
)
async def test_tokens_of_these_algorithms_are_read(
    browser: Browser, provider: MiniOidc, kind: str, algorithm: str
) -> None:
    provider.rotate("key-1", other_key(kind), algorithm)
    assert (await browser.sign_in()).status_code == 303


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "ES256", "HS256"])
async def test_a_token_without_a_signature_is_none(
    browser: Browser, provider: MiniOidc, algorithm: str
) -> None:
    provider.forge = lambda claims: unsigned(claims, algorithm)
    await refused(browser)


@pytest.mark.parametrize("kind", ["RSA", "EC"])
async def test_a_public_key_is_no_shared_one(
    browser: Browser, provider: MiniOidc, kind: str
) -> None:
    public = other_key(kind)
    provider.rotate("key-1", public)
    secret = public.as_pem(private=False)
    provider.forge = lambda claims: signed_with_text("key-1", claims, secret)
    await refused(browser)


async def test_a_published_secret_signs_nothing(browser: Browser, provider: MiniOidc) -> None:
    secret = b"a shared secret of 256 bits, or so"
    provider.published = [
        provider.key.as_dict(private=False),
        {"kty": "oct", "kid": "secret", "k": encoded(secret)},
    ]
    provider.forge = lambda claims: signed_with_text("secret", claims, secret)
    await refused(browser)


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("EC", "ES256"), ("RSA", "RS256"), ("RSA", "RS512")]
)
async def test_another_ones_signature_is_refused(
    browser: Browser, provider: MiniOidc, kind: str, algorithm: str
) -> None:
    """By another key of the same name, or by an algorithm that is not allowed."""
    key = other_key(kind)
    if algorithm != "RS512":
        provider.published = [other_key(kind).as_dict(private=False)]
    provider.rotate("key-1", key, algorithm)
    await refused(browser)


async def test_a_key_in_the_header_is_not_believed(browser: Browser, provider: MiniOidc) -> None:
    own = other_key("EC", "key-1")
    header = {"alg": "ES256", "kid": "key-1", "jwk": own.as_dict(private=False)}
    provider.forge = lambda claims: signed(header, claims, own)
    await refused(browser)


async def test_a_token_that_was_changed_is_refused(browser: Browser, provider: MiniOidc) -> None:
    def changed(claims: Mapping[str, Any]) -> str:
        head, _, signature = provider.sign(claims).split(".")
        other = orjson.dumps(dict(claims) | {"email": "owner@example.com"})
        return ".".join([head, encoded(other), signature])

    provider.forge = changed
    await refused(browser)


NOW = 1_780_000_000


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": None},
        {"iss": "https://evil.example.com"},
        {"aud": None},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": []},
        {"aud": {CLIENT_ID: 1}},
        {"aud": [CLIENT_ID, "another-client"]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"exp": None},
        {"exp": NOW - 61},
        {"exp": "2100-01-01"},
        {"exp": True},
        {"exp": float("nan")},
        {"iat": None},
        {"iat": NOW + 61},
        {"iat": "now"},
        {"nbf": NOW + 61},
        {"nbf": "now"},
        {"nonce": None},
        {"nonce": "another"},
        {"nonce": ["another"]},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "a\0b"},
    ],
    ids=str,
)
async def test_a_claim_that_is_missing_or_wrong_is_refused(
    browser: Browser, provider: MiniOidc, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    await refused(browser)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": [CLIENT_ID]},
        {"aud": [CLIENT_ID, "another-client"], "azp": CLIENT_ID},
        {"azp": CLIENT_ID},
        {"exp": NOW - 59},
        {"exp": NOW + 0.5},
        {"iat": NOW + 59},
        {"nbf": NOW + 59},
        {"sid": None},
        {"sid": 7},
        {"sub": "x" * 255},
    ],
    ids=str,
)
async def test_a_claim_that_may_be_is_none_the_worse(
    browser: Browser, provider: MiniOidc, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    assert (await browser.sign_in()).status_code == 303


async def test_a_subject_that_is_no_text_is_refused(browser: Browser, provider: MiniOidc) -> None:
    def forged(claims: Mapping[str, Any]) -> str:
        said = orjson.dumps(dict(claims) | {"sub": "half"}).replace(b"half", b"\\ud800")
        text = f"{encoded(orjson.dumps({'alg': 'ES256', 'kid': 'key-1'}))}.{encoded(said)}"
        return f"{text}.{signature_of(provider, text)}"

    provider.forge = forged
    await refused(browser)


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": "at+jwt"},
        {"typ": 7},
        {"crit": ["b64"], "b64": False},
        {"kid": "unknown"},
        {"kid": None},
    ],
    ids=str,
)
async def test_a_header_that_is_wrong_is_refused(
    browser: Browser, provider: MiniOidc, header: dict[str, Any]
) -> None:
    provider.forge = lambda claims: resigned(provider, claims, header)
    await refused(browser)


def resigned(provider: MiniOidc, claims: Mapping[str, Any], header: dict[str, Any]) -> str:
    """A genuine signature over whatever header."""
    whole = {"alg": "ES256", "kid": "key-1", "typ": "JWT"} | header
    parts = [orjson.dumps(whole), orjson.dumps(dict(claims))]
    text = ".".join(encoded(part) for part in parts)
    return f"{text}.{signature_of(provider, text)}"


def signature_of(provider: MiniOidc, text: str) -> str:
    """ES256 of a text (RFC 7518, 3.4)."""
    private = provider.key.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = utils.decode_dss_signature(private.sign(text.encode(), ec.ECDSA(SHA256())))
    return encoded(r.to_bytes(32) + s.to_bytes(32))


@pytest.mark.parametrize("token", [None, 7, "", "x", "a.b.c", "a" * 70_000, {"a": 1}], ids=str)
async def test_what_is_no_token_is_refused(
    browser: Browser, provider: MiniOidc, token: object
) -> None:
    forge: Callable[[Mapping[str, Any]], Any] = lambda _: token  # noqa: E731
    provider.forge = forge
    await refused(browser)


async def test_a_header_of_any_other_kind_is_none_the_worse(
    browser: Browser, provider: MiniOidc
) -> None:
    provider.forge = lambda claims: resigned(provider, claims, {"x5t": "abc", "tenant": "1"})
    assert (await browser.sign_in()).status_code == 303


async def test_a_key_without_a_name_is_found_if_it_is_the_only_one(
    browser: Browser, provider: MiniOidc
) -> None:
    only = dict(provider.key.as_dict(private=False))
    del only["kid"]
    provider.published = [only]
    provider.forge = lambda claims: signed({"alg": "ES256"}, claims, provider.key)
    assert (await browser.sign_in()).status_code == 303


async def test_a_key_for_something_else_verifies_nothing(
    browser: Browser, provider: MiniOidc
) -> None:
    only = dict(provider.key.as_dict(private=False)) | {"use": "enc"}
    del only["kid"]
    provider.published = [only]
    provider.forge = lambda claims: signed({"alg": "ES256"}, claims, provider.key)
    assert (await browser.sign_in()).status_code == 503
    assert browser.token == ""


async def test_a_new_key_is_fetched_once_it_is_used(
    browser: Browser, provider: MiniOidc, clock: ManualClock
) -> None:
    await browser.sign_in()
    clock.advance(PAUSE_SECONDS)
    provider.rotate("key-2")
    assert (await browser.sign_in()).status_code == 303
    assert provider.calls.count("jwks") == 2


async def test_unknown_keys_do_not_make_the_provider_be_asked_at_will(
    browser: Browser, provider: MiniOidc, clock: ManualClock
) -> None:
    await browser.sign_in()
    clock.advance(PAUSE_SECONDS)
    provider.published = [provider.key.as_dict(private=False)]
    for number in range(4):
        provider.rotate(f"unknown-{number}")
        await browser.sign_in()
    assert provider.calls.count("jwks") == 2
    provider.published = None
    clock.advance(PAUSE_SECONDS)
    assert (await browser.sign_in()).status_code == 303


async def test_keys_that_are_of_no_use_are_left_out(browser: Browser, provider: MiniOidc) -> None:
    weak = {"kty": "RSA", "kid": "key-1", "e": "AQAB", "n": "x" * 170}
    provider.published = [
        weak,
        {"kty": "EC", "kid": "key-1", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "key-1", "n": 7, "e": []},
        {"kty": ["RSA"]},
        {"kty": "AKP", "kid": "post-quantum"},
        other_key("EC").as_dict(private=False) | {"use": "enc"},
        other_key("EC").as_dict(private=False) | {"kid": 7},
        provider.key.as_dict(private=False),
    ]
    assert (await browser.sign_in()).status_code == 303
