import pytest

from contracts.probes import PROBE_SECONDS, ProbeTokens, is_probe

NOW_MS = 1_780_000_000_000
EXPIRES = NOW_MS // 1000 + PROBE_SECONDS
TOKENS = ProbeTokens("an-internal-token-for-tests")
TOKEN = TOKENS.sign("frm_1", EXPIRES)


def test_a_token_is_good_for_its_form_until_it_ends() -> None:
    assert TOKENS.is_valid(TOKEN.encode(), "frm_1", NOW_MS)
    assert TOKENS.is_valid(TOKEN.encode(), "frm_1", EXPIRES * 1000 - 1)
    assert not TOKENS.is_valid(TOKEN.encode(), "frm_1", EXPIRES * 1000)
    assert not TOKENS.is_valid(TOKEN.encode(), "frm_2", NOW_MS)
    assert not ProbeTokens("another-internal-token").is_valid(TOKEN.encode(), "frm_1", NOW_MS)


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        TOKEN.encode()[:-1],
        TOKEN.partition(".")[2].encode(),
        TOKEN.replace(str(EXPIRES), str(EXPIRES + 1)).encode(),
        b" " + TOKEN.encode(),
        "٣".encode() + TOKEN.encode(),
        b"\xb2." + b"0" * 64,
        b"9" * 5_000 + b"." + b"0" * 64,
    ],
)
def test_what_is_no_token_is_refused_without_harm(token: bytes) -> None:
    assert not TOKENS.is_valid(token, "frm_1", NOW_MS)


def test_no_header_looks_like_the_mark_of_a_probe() -> None:
    assert is_probe('{"ip":"192.0.2.1","probe":true}')
    assert not is_probe('{"ip":"192.0.2.1","user_agent":"\\"probe\\":true"}')
    assert not is_probe('{"ip":"192.0.2.1","user_agent":"probe"}')
