import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from urllib3.filepost import encode_multipart_formdata

from contracts.problems import Problem, Rejected
from gateway.parsing.bodies import Body, BodyLimits, read_body
from gateway.staging import Staging

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=B0undary"
JSON = b"application/json"
LIMITS = BodyLimits()
NO_STAGING = Staging(Path("/nowhere"))
UNDEFINED = b"\x81\x8d\x8f\x90\x9d"

quickly = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow], database=None
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# Browsers do not escape "%" in names, so that a name holding "%22" cannot be told from a quote.
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="%"), max_size=30)
printable = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="%\\"), max_size=30
)


def read_chunks(chunks: list[bytes], content_type: bytes) -> Body:
    waiting = list(chunks) or [b""]

    async def receive() -> MutableMapping[str, Any]:
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    return asyncio.run(
        read_body(
            receive,
            content_type=content_type,
            content_length=None,
            content_encoding=None,
            limits=LIMITS,
            staging=NO_STAGING,
        )
    )


def read(body: bytes, content_type: bytes) -> Body:
    return read_chunks([body], content_type)


def result(chunks: list[bytes], content_type: bytes) -> Body | Problem:
    """What became of a body; anything raised but ``Rejected`` fails the test."""
    try:
        return read_chunks(chunks, content_type)
    except Rejected as rejected:
        return rejected.problem


def cut(body: bytes, positions: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(body) + 1) for position in positions), len(body)]
    return [body[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def group(pairs: list[tuple[str, str]]) -> dict[str, str | list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: held if len(held) > 1 else held[0] for name, held in values.items()}


def encode_multipart(pairs: list[tuple[str, str]]) -> bytes:
    parts = []
    for name, value in pairs:
        escaped = name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
        head = f'--B0undary\r\nContent-Disposition: form-data; name="{escaped}"\r\n\r\n'
        parts.append(head.encode() + value.encode() + b"\r\n")
    return b"".join(parts) + b"--B0undary--\r\n"


def percent_decode(data: bytes) -> bytes:
    """WHATWG URL standard, "percent-decode", step by step."""
    output = bytearray()
    index = 0
    while index < len(data):
        digits = data[index + 1 : index + 3]
        if data[index] == 0x25 and len(digits) == 2 and all(d in HEX_DIGITS for d in digits):
            output.append(int(digits, 16))
            index += 3
        else:
            output.append(data[index])
            index += 1
    return bytes(output)


HEX_DIGITS = b"0123456789abcdefABCDEF"


def whatwg_tuples(data: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG URL standard, "urlencoded parser", up to the decoding, step by step."""
    output = []
    for sequence in data.split(b"&"):
        if sequence == b"":
            continue
        if b"=" in sequence:
            at = sequence.index(b"=")
            name, value = sequence[:at], sequence[at + 1 :]
        else:
            name, value = sequence, b""
        name, value = name.replace(b"+", b" "), value.replace(b"+", b" ")
        output.append((percent_decode(name), percent_decode(value)))
    return output


def windows_1252(data: bytes) -> str:
    return "".join(
        chr(byte) if byte in UNDEFINED else bytes([byte]).decode("cp1252") for byte in data
    )


def expected_form(data: bytes) -> Body:
    tuples = whatwg_tuples(data)
    try:
        pairs = [(name.decode(), value.decode()) for name, value in tuples]
    except UnicodeDecodeError:
        pairs = [(windows_1252(name), windows_1252(value)) for name, value in tuples]
        return Body(group(pairs), charset_guessed=True)
    return Body(group(pairs), charset_guessed=False)


pieces = st.sampled_from(
    [b"&", b"=", b"+", b"%", b";", b"a", b"b", b"4", b"F", b"%26", b"%3d", b"%3D", b"%2B", b"%25"]
    + [b"%41", b"%zz", b"%c3%a9", b"\xc3\xa9", b"%C3", b"\xe9", b"%81", b"%00", b" ", b"\r\n"]
)


@quickly
@given(st.one_of(st.lists(pieces, max_size=60).map(b"".join), st.binary(max_size=150)))
def test_urlencoded_agrees_with_the_whatwg_parser(data: bytes) -> None:
    assert read(data, URLENCODED) == expected_form(data)


@quickly
@given(st.lists(st.tuples(text, text), max_size=10))
def test_what_urlencoding_says_is_what_is_read(pairs: list[tuple[str, str]]) -> None:
    assume("_charset_" not in dict(pairs))
    body = urlencode(pairs).encode()
    assert read(body, URLENCODED) == Body(group(pairs), charset_guessed=False)


@quickly
@given(st.lists(st.tuples(names, text), max_size=8), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_a_browser_sends_as_multipart_is_read(
    pairs: list[tuple[str, str]], cuts: list[int]
) -> None:
    body = encode_multipart(pairs)
    expected = Body(group(pairs), charset_guessed=False)
    assert read_chunks(cut(body, cuts), MULTIPART) == expected


@quickly
@given(
    st.lists(st.tuples(printable, text), min_size=1, max_size=8),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_what_httpx_sends_as_multipart_is_read(
    pairs: list[tuple[str, str]], cuts: list[int]
) -> None:
    files = [(name, (None, value.encode())) for name, value in pairs]
    request = httpx.Request("POST", "http://test/", files=files)
    chunks = cut(request.read(), cuts)
    expected = Body(group(pairs), charset_guessed=False)
    assert read_chunks(chunks, request.headers["content-type"].encode()) == expected


@quickly
@given(
    st.lists(st.tuples(printable, text), min_size=1, max_size=8),
    st.lists(st.integers(0, 10_000), max_size=8),
)
def test_what_urllib3_sends_as_multipart_is_read(
    pairs: list[tuple[str, str]], cuts: list[int]
) -> None:
    body, content_type = encode_multipart_formdata([(name, value) for name, value in pairs])
    expected = Body(group(pairs), charset_guessed=False)
    assert read_chunks(cut(body, cuts), content_type.encode()) == expected


@settings(quickly, max_examples=20)
@given(st.lists(st.tuples(names, text), max_size=3))
def test_every_truncation_of_a_multipart_body_is_refused(pairs: list[tuple[str, str]]) -> None:
    whole = encode_multipart(pairs).removesuffix(b"\r\n")
    for length in range(len(whole)):
        assert result([whole[:length]], MULTIPART) is Problem.BAD_BODY
        assert result([whole[: length // 2], whole[length // 2 : length]], MULTIPART) is (
            Problem.BAD_BODY
        )


values = st.recursive(
    st.one_of(st.none(), st.booleans(), text, st.integers(-(10**40), 10**40))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(text, children, max_size=4),
    max_leaves=12,
)


@quickly
@given(st.dictionaries(text, values, max_size=6), st.booleans(), st.sampled_from([None, 2]))
def test_json_values_are_kept_as_their_text(
    document: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    fields = read(body, JSON).fields
    assert list(fields) == list(document)
    for name, value in document.items():
        compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        assert fields[name] == (value if isinstance(value, str) else compact)


@quickly
@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
)
def test_a_number_is_kept_letter_by_letter(number: str) -> None:
    body = f'{{"a": {number}, "b": [{number}]}}'.encode()
    assert read(body, JSON).fields == {"a": number, "b": f"[{number}]"}


SEEDS = {
    URLENCODED: b"a=1&b=%C3%A9&_charset_=utf-8&a=+x%26y",
    JSON: b'{"a":"1","b":[1,2.50,-0,{"c":null}],"d":"\\u0000"}',
    MULTIPART: b"--B0undary\r\nContent-Disposition: form-data; name=f; filename=x\r\n\r\n\0\r\n"
    + encode_multipart([("a", "1"), ("é", "x\r\ny"), ("_charset_", "utf-8"), ("", "")]),
}
tokens = st.sampled_from(
    [b"", b"\r", b"\n", b"\r\n", b"--", b"--B0undary", b"\r\n--B0undary--", b'"', b"\\", b";", b":"]
    + [b"\xff", b"\xc3\xa9", b"\0", b" ", b"filename=", b"filename*=", b"name=", b"[", b"{", b"%"]
    + [b"Content-Type: text/plain; charset=sjis\r\n", b"1e999", b"-0", b"\xef\xbb\xbf", b"&", b"="]
)
edits = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), tokens), max_size=4)


def edited(body: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in changes:
        at = position % (len(body) + 1)
        body = body[:at] + inserted + body[at + removed :]
    return body


@settings(quickly, max_examples=400)
@given(st.sampled_from(list(SEEDS)), edits, st.lists(st.integers(0, 500), max_size=6))
def test_a_mutilated_body_is_read_or_refused_the_same_however_it_is_cut(
    content_type: bytes, changes: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    body = edited(SEEDS[content_type], changes)
    whole = result([body], content_type)
    assert result(cut(body, cuts), content_type) == whole
    assert result([bytes([byte]) for byte in body], content_type) == whole


@quickly
@given(st.binary(max_size=300), st.sampled_from(list(SEEDS)))
def test_random_bytes_are_read_or_refused(data: bytes, content_type: bytes) -> None:
    result([data], content_type)


@quickly
@given(st.binary(max_size=60))
def test_a_random_content_type_is_read_or_refused(parameters: bytes) -> None:
    for media_type in (b"", b"multipart/form-data;", b"multipart/form-data; boundary="):
        result([SEEDS[MULTIPART]], media_type + parameters)


@pytest.mark.parametrize("content_type", list(SEEDS))
def test_the_seeds_are_read(content_type: bytes) -> None:
    assert isinstance(result([SEEDS[content_type]], content_type), Body)
