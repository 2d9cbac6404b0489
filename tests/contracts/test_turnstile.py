"""Cloudflare's published test secrets are known for what they are."""

import pytest

from contracts.turnstile import DUMMY_SECRETS, is_dummy_secret


@pytest.mark.parametrize("first", ["1x", "2x", "3x"])
def test_a_published_secret_is_known(first: str) -> None:
    secret = f"{first}0000000000000000000000000000000AA"
    assert is_dummy_secret(secret)
    assert is_dummy_secret(f" {secret}\n")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "0x4AAAAAAA-a-real-one",
        "4x0000000000000000000000000000000AA",
        "1x00000000000000000000AA",
    ],
)
def test_another_secret_is_not(secret: str) -> None:
    assert not is_dummy_secret(secret)


def test_there_are_three() -> None:
    assert len(DUMMY_SECRETS) == 3
