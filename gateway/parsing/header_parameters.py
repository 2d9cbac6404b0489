"""Reads the parameters of ``Content-Type`` and of a part's ``Content-Disposition``."""

import re
from urllib.parse import unquote_to_bytes

from gateway.parsing.charsets import decode_text, find_codec

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LENIENT = re.compile(r""";[ \t]*([^;=" \t]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)""")
_UNQUOTED = r"""[^ \t";]*"""
_BROWSER = re.compile(rf""";[ \t]*({_NAME})[ \t]*=[ \t]*("[^"]*"|{_UNQUOTED})[ \t]*""")
_ESCAPING = re.compile(rf""";[ \t]*({_NAME})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|{_UNQUOTED})[ \t]*""")
_ESCAPED = re.compile(r"\\(.)")
_TYPE = re.compile(rf"{_NAME}/{_NAME}")
_TYPE_LENGTH_MAX = 255
_UNKNOWN_TYPE = "application/octet-stream"


def parse_media_type(text: str) -> tuple[str, dict[str, str]]:
    """The type in lower case and its parameters, by lower-case name.

    As in the WHATWG MIME Sniffing standard: what is malformed is passed over, the first of
    repeated parameters counts, and an empty one counts as absent.
    """
    essence, separator, rest = text.partition(";")
    parameters: dict[str, str] = {}
    for name, value in _LENIENT.findall(separator + rest):
        value = _unescaped(value) if value.startswith('"') else value.rstrip(" \t")
        if value:
            parameters.setdefault(name.lower(), value)
    return essence.strip(" \t").lower(), parameters


def parse_disposition(text: str) -> dict[str, str]:
    """The parameters of a ``Content-Disposition``, by lower-case name.

    Read as browsers write it (WHATWG HTML: a backslash is itself; ``%22``, ``%0D`` and ``%0A`` are
    a quote and line ends); if that does not fit the whole header, as quoted strings with backslash
    escapes (RFC 9110). Raises ``ValueError`` for what fits neither, or says a thing twice.
    """
    _, separator, rest = text.partition(";")
    rest = (separator + rest).rstrip(" \t;")
    found = _scan(_BROWSER, rest)
    decode = _percent_decoded
    if found is None:
        found = _scan(_ESCAPING, rest)
        decode = _unescaped
    if found is None:
        raise ValueError("malformed")
    parameters = {name.lower(): decode(value) for name, value in found}
    if len(parameters) < len(found):
        raise ValueError("repeated")
    return parameters


def parse_file_type(text: str) -> str:
    """The ``type/subtype`` that a file's ``Content-Type`` declares, in lower case; that of unknown
    bytes if it declares none, or none that could be sent back in a header."""
    media_type, _ = parse_media_type(text)
    if len(media_type) > _TYPE_LENGTH_MAX or _TYPE.fullmatch(media_type) is None:
        return _UNKNOWN_TYPE
    return media_type


def decode_extended(value: str) -> str | None:
    """The text of an extended parameter such as ``filename*`` (RFC 8187): ``UTF-8''na%C3%AFve``.

    None for what is malformed, or in a charset that is not known.
    """
    charset, quote, rest = value.partition("'")
    _, second_quote, encoded = rest.partition("'")
    codec = find_codec(charset) if quote and second_quote else None
    return codec and decode_text(unquote_to_bytes(encoded.encode("latin-1")), codec)


def _scan(parameter: re.Pattern[str], text: str) -> list[tuple[str, str]] | None:
    found = []
    position = 0
    while position < len(text):
        match = parameter.match(text, position)
        if match is None:
            return None
        found.append((match[1], match[2]))
        position = match.end()
    return found


def _percent_decoded(value: str) -> str:
    if not value.startswith('"'):
        return value
    return value[1:-1].replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _unescaped(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPED.sub(r"\1", value[1:-1])
