import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from contracts.problems import Problem, Rejected
from gateway.parsing.bodies import Body, BodyLimits, ClientDisconnected, read_body
from gateway.staging import Staging

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary=B"
JSON = b"application/json"
UTF_8_BOM = b"\xef\xbb\xbf"
LIMITS = BodyLimits()
NO_STAGING = Staging(Path("/nowhere"))


def read(
    body: bytes,
    content_type: bytes | None,
    *,
    chunks: list[bytes] | None = None,
    length: int | None = None,
    encoding: bytes | None = None,
    limits: BodyLimits = LIMITS,
) -> Body:
    waiting = list(chunks or [body])

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    return asyncio.run(
        read_body(
            receive,
            content_type=content_type,
            content_length=length,
            content_encoding=encoding,
            limits=limits,
            staging=NO_STAGING,
        )
    )


def refusal(body: bytes, content_type: bytes | None, **options: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(body, content_type, **options)
    return caught.value


def part(disposition: bytes, value: bytes = b"v", *headers: bytes) -> bytes:
    lines = [b"Content-Disposition: form-data; " + disposition, *headers]
    return b"--B\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + value + b"\r\n"


def multipart(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("content_type", "problem"),
    [
        pytest.param(None, Problem.BAD_BODY, id="absent"),
        pytest.param(b"", Problem.BAD_BODY, id="empty"),
        pytest.param(b"text/plain", Problem.UNSUPPORTED_MEDIA_TYPE, id="text"),
        pytest.param(b"application/xml", Problem.UNSUPPORTED_MEDIA_TYPE, id="xml"),
        pytest.param(b"application/jsonx", Problem.UNSUPPORTED_MEDIA_TYPE, id="prefix"),
        pytest.param(JSON + b", " + JSON, Problem.UNSUPPORTED_MEDIA_TYPE, id="two types"),
        pytest.param(
            JSON + b"; charset=latin1", Problem.UNSUPPORTED_MEDIA_TYPE, id="json not utf-8"
        ),
        pytest.param(
            URLENCODED + b"; charset=klingon", Problem.UNSUPPORTED_MEDIA_TYPE, id="unknown charset"
        ),
        pytest.param(
            URLENCODED + b"; charset=rot13", Problem.UNSUPPORTED_MEDIA_TYPE, id="not a charset"
        ),
        pytest.param(
            URLENCODED + b"; charset=utf-7", Problem.UNSUPPORTED_MEDIA_TYPE, id="unsafe charset"
        ),
        pytest.param(b"multipart/form-data", Problem.BAD_BODY, id="no boundary"),
        pytest.param(
            b"multipart/form-data; boundary=" + b"x" * 2000, Problem.BAD_BODY, id="long boundary"
        ),
    ],
)
def test_a_content_type_that_is_not_read_is_refused(
    content_type: bytes | None, problem: Problem
) -> None:
    assert refusal(b"", content_type).problem is problem


def test_the_refusal_of_a_type_names_those_that_are_read() -> None:
    detail = refusal(b"x", b"text/plain").detail
    assert URLENCODED.decode() in detail
    assert "multipart/form-data" in detail
    assert JSON.decode() in detail


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (b"Application/X-WWW-Form-URLencoded", b"a=1"),
        (URLENCODED + b" ; Charset=UTF-8", b"a=1"),
        (URLENCODED + b'; charset="utf8"', b"a=1"),
        (URLENCODED + b"; charset=", b"a=1"),
        (b"application/JSON; charset=UTF-8", b'{"a":"1"}'),
        (b"application/json;odata=verbose", b'{"a":"1"}'),
        (b"Multipart/Form-Data; BOUNDARY=B", multipart(part(b"name=a", b"1"))),
        (b'multipart/form-data; charset=utf-8; boundary="B"', multipart(part(b"name=a", b"1"))),
        (b"multipart/form-data; boundary=B; boundary=C", multipart(part(b"name=a", b"1"))),
    ],
)
def test_media_type_and_parameters_match_in_any_case_and_form(
    content_type: bytes, body: bytes
) -> None:
    assert read(body, content_type).fields == {"a": "1"}


def test_an_unquoted_boundary_may_hold_what_should_be_quoted() -> None:
    body = multipart(part(b"name=a")).replace(b"--B", b"--=_Part:1")
    assert read(body, b"multipart/form-data; boundary==_Part:1").fields == {"a": "v"}


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"deflate, gzip"])
def test_an_encoded_body_is_refused(encoding: bytes) -> None:
    rejected = refusal(b"a=1", URLENCODED, encoding=encoding)
    assert rejected.problem is Problem.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize("encoding", [b"identity", b"Identity", b""])
def test_the_identity_encoding_is_none(encoding: bytes) -> None:
    assert read(b"a=1", URLENCODED, encoding=encoding).fields == {"a": "1"}


@pytest.mark.parametrize(
    ("content_type", "limit"),
    [(URLENCODED, 1_048_576), (JSON, 1_048_576), (MULTIPART, 9_437_184)],
)
def test_a_length_over_the_limit_is_refused_before_anything_is_read(
    content_type: bytes, limit: int
) -> None:
    async def receive() -> MutableMapping[str, Any]:
        pytest.fail("read")

    reading = read_body(
        receive,
        content_type=content_type,
        content_length=limit + 1,
        content_encoding=None,
        limits=LIMITS,
        staging=NO_STAGING,
    )
    with pytest.raises(Rejected) as caught:
        asyncio.run(reading)
    assert caught.value.detail == f"The body is larger than {limit} bytes."


def test_bytes_are_counted_as_they_arrive() -> None:
    chunks = [b"a" * 6, b"a" * 6, b"never read"]
    rejected = refusal(b"", URLENCODED, chunks=chunks, limits=BodyLimits(body_bytes=10))
    assert rejected.problem is Problem.BODY_TOO_LARGE


def test_a_body_shorter_than_its_length_is_refused() -> None:
    assert refusal(b"a=1", URLENCODED, length=4).problem is Problem.BAD_BODY


@pytest.mark.parametrize("content_type", [URLENCODED, MULTIPART, JSON])
def test_a_client_that_goes_away_has_nobody_to_answer(content_type: bytes) -> None:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    reading = read_body(
        receive,
        content_type=content_type,
        content_length=None,
        content_encoding=None,
        limits=LIMITS,
        staging=NO_STAGING,
    )
    with pytest.raises(ClientDisconnected):
        asyncio.run(reading)


def test_many_escapes_are_read_as_few() -> None:
    body = b"a=" + b"%41b%C3%A9%zz%" * 1_000
    assert read(body, URLENCODED).fields == {"a": "Abé%zz%" * 1_000}


def test_a_large_body_is_read_off_the_loop_the_same() -> None:
    value = "é" * 20_000
    assert read(f"a={value}".encode(), URLENCODED).fields == {"a": value}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(b"", {}, id="empty"),
        pytest.param(b"&&", {}, id="only separators"),
        pytest.param(b"a=1&&b=2&", {"a": "1", "b": "2"}, id="empty sequences"),
        pytest.param(b"a", {"a": ""}, id="no equals sign"),
        pytest.param(b"=v", {"": "v"}, id="empty name"),
        pytest.param(b"=", {"": ""}, id="nothing but an equals sign"),
        pytest.param(b"a=b=c", {"a": "b=c"}, id="second equals sign"),
        pytest.param(b"a;b=1;2", {"a;b": "1;2"}, id="semicolon"),
        pytest.param(b"a+b=c+d", {"a b": "c d"}, id="plus"),
        pytest.param(b"a=1%2B1", {"a": "1+1"}, id="escaped plus"),
        pytest.param(b"a%3Db=c%26d", {"a=b": "c&d"}, id="escaped separators"),
        pytest.param(b"a=%&b=%zz&c=%4", {"a": "%", "b": "%zz", "c": "%4"}, id="bad escapes"),
        pytest.param(b"a=%2541", {"a": "%41"}, id="no second unescaping"),
        pytest.param(b"a=%%41%4%41", {"a": "%A%4A"}, id="escape after percent"),
        pytest.param(b"a=1&b=2&a=3&a=4", {"a": ["1", "3", "4"], "b": "2"}, id="repeated"),
        pytest.param(b"a=%C3%A9\xc3\xa9", {"a": "éé"}, id="utf-8, escaped and raw"),
        pytest.param(b"a=%00%0D%0A", {"a": "\0\r\n"}, id="control characters"),
        pytest.param(b"a=%EF%BB%BFx", {"a": "\ufeffx"}, id="byte order mark"),
        pytest.param(b"a=%EF%BF%BD", {"a": "\ufffd"}, id="replacement character as sent"),
        pytest.param(b"__proto__=1&_next=2", {"__proto__": "1", "_next": "2"}, id="magic names"),
    ],
)
def test_urlencoded(body: bytes, fields: dict[str, str | list[str]]) -> None:
    assert read(body, URLENCODED) == Body(fields, charset_guessed=False)


def test_fields_keep_their_order() -> None:
    assert list(read(b"z=1&a=2&z=3&m=4", URLENCODED).fields) == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("content_type", "body", "value", "charset_guessed"),
    [
        pytest.param(URLENCODED, b"a=%E1\xe7", "áç", True, id="windows-1252 by default"),
        pytest.param(URLENCODED, b"a=%93x%94", "“x”", True, id="windows-1252 quotes"),
        pytest.param(URLENCODED, b"a=%81%8d%8f%90%9d", "\x81\x8d\x8f\x90\x9d", True, id="C1"),
        pytest.param(URLENCODED, b"a=%C3%A9&b=%E9", "Ã©", True, id="one charset for all"),
        pytest.param(URLENCODED + b"; charset=latin1", b"a=%E9", "é", False, id="named"),
        pytest.param(URLENCODED + b"; charset=Shift_JIS", b"a=%82%A0", "あ", False, id="sjis"),
        pytest.param(URLENCODED + b"; charset=euc-kr", b"a=%FF", "ÿ", True, id="wrong name"),
        pytest.param(
            URLENCODED + b"; charset=euc-kr", b"a=%C3%A9%C3", "Ã©Ã", True, id="wrong name, twice"
        ),
        pytest.param(
            URLENCODED + b"; charset=euc-jp", b"a=%C3%A9%F0%9F%98%80", "é😀", False, id="utf-8"
        ),
        pytest.param(URLENCODED + b"; charset=utf-8", b"a=%E9", "é", True, id="not utf-8"),
        pytest.param(URLENCODED, b"_charset_=koi8-r&a=%C1", "а", False, id="_charset_"),
        pytest.param(URLENCODED, b"a=%C3%A9&_charset_=utf-8", "é", False, id="_charset_ utf-8"),
        pytest.param(
            URLENCODED, b"a=%C3%A9&_charset_=windows-1252", "Ã©", False, id="_charset_ over utf-8"
        ),
        pytest.param(URLENCODED, b"a=%E9&_charset_=klingon", "é", True, id="unknown _charset_"),
        pytest.param(URLENCODED, b"a=%41&_charset_=utf-16", "A", False, id="unfit _charset_"),
        pytest.param(
            URLENCODED + b"; charset=utf-8",
            b"a=%C3%A9&_charset_=latin1",
            "é",
            False,
            id="type over _charset_",
        ),
    ],
)
def test_the_charset_of_a_form(
    content_type: bytes, body: bytes, value: str, charset_guessed: bool
) -> None:
    read_form = read(body, content_type)
    assert (read_form.fields["a"], read_form.charset_guessed) == (value, charset_guessed)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"a=1&b=2&c=3", "The form has more than 2 fields."),
        (b"a&a&a", "The form has more than 2 fields."),
        (b"\xc3\xa9\xc3\xa9x=1", "A field name is longer than 4 bytes."),
        (b"%E9%E9%E9=1", "A field name is longer than 4 bytes."),
        (b"a=%C3%A9%C3%A9%C3%A9", 'The value of the field "a" is longer than 5 bytes.'),
    ],
)
def test_urlencoded_limits(body: bytes, detail: str) -> None:
    limits = BodyLimits(fields=2, name_bytes=4, value_bytes=5)
    rejected = refusal(body, URLENCODED, limits=limits)
    assert (rejected.problem, rejected.detail) == (Problem.BODY_TOO_LARGE, detail)


@pytest.mark.parametrize("body", [b"\xc3\xa9\xc3\xa9=12345&&&&&&b=\xc3\xa9\xc3\xa9x", b"&" * 99])
def test_what_is_just_within_the_limits_passes(body: bytes) -> None:
    read(body, URLENCODED, limits=BodyLimits(fields=2, name_bytes=4, value_bytes=5))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        pytest.param(multipart(), {}, id="no parts"),
        pytest.param(b"--B--", {}, id="no parts, no line end"),
        pytest.param(multipart(part(b'name="a"')), {"a": "v"}, id="one field"),
        pytest.param(multipart(part(b'name="a"', b"")), {"a": ""}, id="no value"),
        pytest.param(multipart(part(b'name=""')), {"": "v"}, id="empty name"),
        pytest.param(multipart(part(b"name=a")), {"a": "v"}, id="token"),
        pytest.param(multipart(part(b"name=a[0]")), {"a[0]": "v"}, id="unquoted, not a token"),
        pytest.param(multipart(part(b' NAME = "a" ;')), {"a": "v"}, id="white space"),
        pytest.param(
            multipart(part(b'name="a%22%0D%0A%41"')), {'a"\r\n%41': "v"}, id="browser escapes"
        ),
        pytest.param(multipart(part(rb'name="a\\b"')), {r"a\\b": "v"}, id="browser backslashes"),
        pytest.param(multipart(part(rb'name="a\"')), {"a\\": "v"}, id="browser backslash, last"),
        pytest.param(multipart(part(rb'name="a\"b"')), {'a"b': "v"}, id="escaped quote"),
        pytest.param(multipart(part(b'name="a;filename=x"')), {"a;filename=x": "v"}, id="quoted"),
        pytest.param(
            multipart(part(b"name=a; name*=UTF-8''b")), {"a": "v"}, id="name* says nothing"
        ),
        pytest.param(
            multipart(part(b"name=a", b"1"), part(b"name=b", b"2"), part(b"name=a", b"3")),
            {"a": ["1", "3"], "b": "2"},
            id="repeated",
        ),
        pytest.param(
            multipart(part(b"name=a", b"\r\n--b\r\n--\r\n\0")),
            {"a": "\r\n--b\r\n--\r\n\0"},
            id="nearly a boundary",
        ),
        pytest.param(
            multipart(part(b"name=f; filename=", b""), part(b"name=a")),
            {"a": "v"},
            id="empty file input",
        ),
        pytest.param(
            multipart(
                part(b'name="f"; filename=""', b"", b"Content-Type: application/octet-stream"),
                part(b"name=a"),
            ),
            {"a": "v"},
            id="empty file input with its type",
        ),
        pytest.param(b"\r\n" + multipart(part(b"name=a")), {"a": "v"}, id="CRLF in front"),
        pytest.param(multipart(part(b"name=a")) + b"\r\n \t", {"a": "v"}, id="space at the end"),
        pytest.param(
            multipart(part(b"name=a", b"v", b"Content-Transfer-Encoding: 8bit")),
            {"a": "v"},
            id="8bit",
        ),
        pytest.param(
            multipart(part(b"name=a", b"v", b"Content-Length: 1")), {"a": "v"}, id="length"
        ),
    ],
)
def test_multipart(body: bytes, fields: dict[str, str | list[str]]) -> None:
    expected = Body(fields, charset_guessed=False)
    assert read(body, MULTIPART) == expected
    assert read(b"", MULTIPART, chunks=[bytes([byte]) for byte in body]) == expected


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(part(b"name=a"), id="no closing boundary"),
        pytest.param(part(b"name=a") + b"--B", id="half a closing boundary"),
        pytest.param(b"--C--\r\n", id="other boundary"),
        pytest.param(b"preamble\r\n" + multipart(part(b"name=a")), id="preamble"),
        pytest.param(multipart(part(b"name=a")) + b"epilogue", id="epilogue"),
        pytest.param(multipart(part(b"name=a")) + b"\r\n--B--", id="closed twice"),
        pytest.param(multipart(part(b"name=a")).replace(b"\r\n", b"\n"), id="LF only"),
        pytest.param(multipart(part(b"name=a\nX: y")), id="LF in headers"),
        pytest.param(multipart(part(b"name=a", b"v", b"\nX: y")), id="LF before a header"),
        pytest.param(multipart(part(b"name=a", b"v", b"X: a\rb")), id="CR in headers"),
        pytest.param(multipart(part(b"name=a", b"v", b" folded")), id="folded header"),
        pytest.param(multipart(part(b"name=a", b"v", b"no colon")), id="no colon"),
        pytest.param(multipart(part(b"x=a")), id="no name"),
        pytest.param(multipart(part(b"name*=UTF-8''a")), id="only name*"),
        pytest.param(multipart(part(b"name=a; name=b")), id="two names"),
        pytest.param(multipart(part(b"name=a; junk")), id="malformed parameter"),
        pytest.param(multipart(part(b'name="a')), id="open quote"),
        pytest.param(multipart(b"--B\r\n\r\nv\r\n"), id="no headers"),
        pytest.param(
            multipart(b"--B\r\nContent-Disposition: attachment; name=a\r\n\r\nv\r\n"),
            id="not form-data",
        ),
        pytest.param(
            multipart(part(b"name=a", b"v", b"Content-Disposition: form-data; name=b")),
            id="two dispositions",
        ),
        pytest.param(
            multipart(part(b"name=a", b"v", b"Content-Transfer-Encoding: base64")), id="base64"
        ),
        pytest.param(
            multipart(part(b"name=a", b"v", b"Content-Type: multipart/mixed; boundary=C")),
            id="nested multipart",
        ),
        pytest.param(multipart(part(b"name=a", b"v", b"Content-Length: 2")), id="wrong length"),
    ],
)
def test_multipart_that_is_refused(body: bytes) -> None:
    assert refusal(body, MULTIPART).problem is Problem.BAD_BODY
    chunks = [bytes([byte]) for byte in body]
    assert refusal(b"", MULTIPART, chunks=chunks).problem is Problem.BAD_BODY


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(part(b'name="f"; filename="x.txt"', b""), id="named, no bytes"),
        pytest.param(part(b'name="f"; filename=""'), id="bytes, no name"),
        pytest.param(part(b"name=f; FileName=x"), id="any case"),
        pytest.param(part(b"name=f; filename*=UTF-8''x.txt"), id="only filename*"),
        pytest.param(part(b"name=f; filename=\"\"; filename*=UTF-8''x", b""), id="both"),
        pytest.param(part(b'filename="x"; name="f"'), id="filename first"),
        pytest.param(part(rb'name="f"; filename="C:\x\"'), id="browser backslash"),
        pytest.param(part(rb'name="a\"b"; filename="x"'), id="escaped quote"),
        pytest.param(part(b'name="f"; filename="\x82\xa0"'), id="not utf-8"),
    ],
)
def test_a_part_with_a_file_name_or_an_unnamed_one_with_bytes_is_a_file(file: bytes) -> None:
    body = read(multipart(part(b"name=a"), file), MULTIPART)
    assert body.fields == {"a": "v"}
    [upload] = body.files
    assert upload.is_oversize


def test_the_text_of_a_multipart_body_is_limited_whatever_its_files_may_have() -> None:
    limits = BodyLimits(body_bytes=200)
    file = part(b"name=f;filename=x", b"x" * 1000)
    assert read(multipart(part(b"name=a"), file), MULTIPART, limits=limits).fields == {"a": "v"}
    body = multipart(part(b"name=a", b"v" * 200), file)
    assert refusal(body, MULTIPART, limits=limits).problem is Problem.BODY_TOO_LARGE
    chunks = [bytes([byte]) for byte in body]
    assert refusal(b"", MULTIPART, chunks=chunks, limits=limits).problem is Problem.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("body", "fields", "charset_guessed"),
    [
        pytest.param(multipart(part(b'name="\xe9"', b"\xe7")), {"é": "ç"}, True, id="windows-1252"),
        pytest.param(
            multipart(part(b'name="\xc3\xa9"', b"\xc3\xa7")), {"é": "ç"}, False, id="utf-8"
        ),
        pytest.param(
            multipart(part(b'name="\xc3\xa9"'), part(b"name=b", b"\xe7")),
            {"Ã©": "v", "b": "ç"},
            True,
            id="one charset for all",
        ),
        pytest.param(
            multipart(part(b'name="\xc1"'), part(b"name=_charset_", b"koi8-r")),
            {"а": "v", "_charset_": "koi8-r"},
            False,
            id="_charset_",
        ),
        pytest.param(
            multipart(part(b'name="\x83\x5c"', b"\x82\xa0"), part(b"name=_charset_", b"sjis")),
            {"ソ": "あ", "_charset_": "sjis"},
            False,
            id="Shift_JIS with a backslash byte",
        ),
        pytest.param(
            multipart(part(b'name="\xc3\xa9"', b"\xe9", b"Content-Type: text/plain; charset=l1")),
            {"é": "é"},
            False,
            id="the part's own",
        ),
        pytest.param(
            multipart(part(b"name=a", b"\xc3\xa9", b"Content-Type: text/plain; charset=euc-kr")),
            {"a": "챕"},
            False,
            id="the part's own, even if UTF-8 would do",
        ),
        pytest.param(
            multipart(part(b"name=a", b"\xff", b"Content-Type: text/plain; charset=euc-kr")),
            {"a": "ÿ"},
            True,
            id="the part's own is wrong",
        ),
    ],
)
def test_the_charset_of_a_multipart_form(
    body: bytes, fields: dict[str, str | list[str]], charset_guessed: bool
) -> None:
    assert read(body, MULTIPART) == Body(fields, charset_guessed)


def test_an_unknown_charset_of_a_part_is_refused() -> None:
    body = multipart(part(b"name=a", b"v", b"Content-Type: text/plain; charset=utf-7"))
    assert refusal(body, MULTIPART).problem is Problem.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        ([part(b"name=a")] * 3, "The form has more than 2 fields."),
        ([part(b"name=f;filename=", b"")] * 13, "The form has more than 12 parts."),
        ([part(b"name=aaaaa")], "A field name is longer than 4 bytes."),
        ([part(b"name=a", b"123456")], 'The value of the field "a" is longer than 5 bytes.'),
        ([part(b"name=a", b"v", b"X: " + b"x" * 8192)], "8192"),
        ([part(b"name=a", b"v", *[b"X%d: x" % n for n in range(9)])], "8 headers"),
    ],
)
def test_multipart_limits(parts: list[bytes], detail: str) -> None:
    limits = BodyLimits(fields=2, name_bytes=4, value_bytes=5)
    rejected = refusal(multipart(*parts), MULTIPART, limits=limits)
    assert rejected.problem is Problem.BODY_TOO_LARGE
    assert detail in rejected.detail


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param('"x"', "x", id="string"),
        pytest.param('""', "", id="empty string"),
        pytest.param(r'"\u0000\ud83d\ude00é"', "\0😀é", id="escapes"),
        pytest.param("true", "true", id="true"),
        pytest.param("false", "false", id="false"),
        pytest.param("null", "null", id="null"),
        pytest.param("12", "12", id="integer"),
        pytest.param("0", "0", id="zero"),
        pytest.param("-0", "-0", id="minus zero"),
        pytest.param("-7", "-7", id="negative"),
        pytest.param("18446744073709551615", "18446744073709551615", id="64 bits"),
        pytest.param("123456789012345678901234567890", "123456789012345678901234567890", id="big"),
        pytest.param("1.0", "1.0", id="float"),
        pytest.param("0.1000", "0.1000", id="trailing zeros"),
        pytest.param("1e2", "1e2", id="exponent"),
        pytest.param("1E+2", "1E+2", id="upper-case exponent"),
        pytest.param("1e-400", "1e-400", id="underflow"),
        pytest.param('[ "a" , "b" ]', '["a","b"]', id="list"),
        pytest.param("[]", "[]", id="empty list"),
        pytest.param("{}", "{}", id="empty object"),
        pytest.param('{"z":1,"a":[-0,1.50,true,null]}', None, id="nested"),
        pytest.param('{"a":1,"b":2,"a":3}', '{"a":3,"b":2}', id="nested duplicates"),
        pytest.param(r'["\u00e9","\u0000\n\"\\\/","1"]', r'["é","\u0000\n\"\\/","1"]', id="text"),
    ],
)
def test_json_values(value: str, text: str | None) -> None:
    body = f'{{"a": {value} , "b": "c"}}'
    expected: dict[str, str | list[str]] = {"a": value if text is None else text, "b": "c"}
    assert read(body.encode(), JSON) == Body(expected, charset_guessed=False)


def test_the_last_of_duplicate_members_wins() -> None:
    assert read(b'{"a":"1","b":"2","a":"3"}', JSON).fields == {"a": "3", "b": "2"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[]", id="list"),
        pytest.param(b'"x"', id="string"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a":1', id="truncated"),
        pytest.param(b'{"a":1} x', id="trailing text"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":NaN}', id="NaN"),
        pytest.param(b'{"a":-Infinity}', id="infinity"),
        pytest.param(b'{"a":1e400}', id="overflow"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="overflow of an integer"),
        pytest.param(b'{"a":"\xe9"}', id="not utf-8"),
        pytest.param(b'{"a":"\xed\xa0\x80"}', id="encoded surrogate"),
        pytest.param(rb'{"a":"\ud800"}', id="lone surrogate"),
        pytest.param(rb'{"\udc00":"x"}', id="lone surrogate in a name"),
        pytest.param(UTF_8_BOM + b"{}", id="byte order mark"),
        pytest.param('{"a":1}'.encode("utf-16"), id="utf-16"),
        pytest.param(b'{"a":"\x00"}', id="raw NUL"),
        pytest.param(nested(33), id="nested too deeply"),
        pytest.param(nested(1_000), id="nested far too deeply"),
        pytest.param(nested(40_000), id="nested beyond recursion"),
    ],
)
def test_json_that_is_refused(body: bytes) -> None:
    assert refusal(body, JSON).problem is Problem.BAD_BODY


def test_json_may_be_nested_to_the_limit() -> None:
    assert read(nested(32), JSON).fields == {"a": "[" * 31 + "]" * 31}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"a":1,"b":2,"c":3}', "The form has more than 2 fields."),
        (b'{"aaaaa":1}', "A field name is longer than 4 bytes."),
        (b'{"a":[[1,2],3]}', 'The value of the field "a" is longer than 5 bytes.'),
        (b'{"a":[1,2,3]}', 'The value of the field "a" is longer than 5 bytes.'),
    ],
)
def test_json_limits(body: bytes, detail: str) -> None:
    rejected = refusal(body, JSON, limits=BodyLimits(fields=2, name_bytes=4, value_bytes=5))
    assert (rejected.problem, rejected.detail) == (Problem.BODY_TOO_LARGE, detail)


def test_a_megabyte_of_json_containers_is_refused_before_it_is_parsed() -> None:
    body = b'{"a":[' + b"[]," * 60_000 + b"[]]}"
    assert refusal(body, JSON).problem is Problem.BODY_TOO_LARGE
