"""Which text a form's bytes are (WHATWG Encoding; RFC 7578 section 4.6 for ``_charset_``).

A named charset is tried first, then UTF-8, then windows-1252, which never fails; each reading holds
for all texts of the form together, and no reading yields U+FFFD for bytes it does not know.
"""

import codecs
from collections.abc import Iterable, Sequence

CHARSET_FIELD = "_charset_"
_CHARSET_FIELD_NAME = CHARSET_FIELD.encode()
UTF_8 = "utf-8"
_WINDOWS_1252 = "cp1252"

# An allow-list, since Python also knows codecs that are not charsets ("hex", "idna", "utf-7").
# Left out of WHATWG's: those that are no superset of ASCII, in which no form is ever encoded
# (UTF-16), and those that it defines only to refuse or for other uses.
_LABELS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859_2": (
        "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2"
    ),
    "iso8859_3": (
        "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3"
    ),
    "iso8859_4": (
        "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4"
    ),
    "iso8859_5": (
        "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 "
        "iso_8859-5:1988"
    ),
    "iso8859_6": (
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 "
        "iso-8859-6-e iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987"
    ),
    "iso8859_7": (
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 "
        "iso88597 iso_8859-7 iso_8859-7:1987 sun_eu_greek"
    ),
    "iso8859_8": (
        "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 "
        "iso88598 iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical"
    ),
    "iso8859_10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859_13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859_14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859_15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859_16": "iso-8859-16",
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": (
        "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 "
        "iso88591 iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii windows-1252 x-cp1252"
    ),
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": (
        "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 "
        "l5 latin5 windows-1254 x-cp1254"
    ),
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": (
        "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030"
    ),
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": (
        "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 "
        "ksc_5601 windows-949"
    ),
}
_CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

# WHATWG reads the five bytes that Python leaves undefined as the C1 controls of the same number.
_WINDOWS_1252_TABLE = "".join(
    chr(byte) if byte in b"\x81\x8d\x8f\x90\x9d" else bytes([byte]).decode(_WINDOWS_1252)
    for byte in range(256)
)


def find_codec(label: str) -> str | None:
    """The Python codec of a WHATWG encoding label, None if no form can be read in it."""
    return _CODECS.get(label.strip("\t\n\f\r ").lower())


def find_codec_in_fields(fields: Iterable[tuple[bytes, bytes | bytearray]]) -> str | None:
    """The codec that the first ``_charset_`` field names, None if it names none."""
    for name, value in fields:
        if name == _CHARSET_FIELD_NAME:
            return find_codec(value.decode("latin-1"))
    return None


def decode_text(raw: bytes | bytearray, codec: str) -> str | None:
    """The text, None if these bytes are none in that codec."""
    if codec == _WINDOWS_1252:
        return _decode_windows_1252(raw)
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def decode_texts(raws: Sequence[bytes | bytearray], named: str | None) -> tuple[list[str], bool]:
    """All texts in the one charset that fits them all, and whether windows-1252 was assumed."""
    for codec in (UTF_8,) if named is None else (named, UTF_8):
        texts = _decode_all(raws, codec)
        if texts is not None:
            return texts, False
    return [_decode_windows_1252(raw) for raw in raws], True


def _decode_all(raws: Sequence[bytes | bytearray], codec: str) -> list[str] | None:
    texts = []
    for raw in raws:
        text = decode_text(raw, codec)
        if text is None:
            return None
        texts.append(text)
    return texts


def _decode_windows_1252(raw: bytes | bytearray) -> str:
    return codecs.charmap_decode(raw, "strict", _WINDOWS_1252_TABLE)[0]
