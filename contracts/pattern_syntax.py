"""Reads the text of a pattern (``contracts.patterns``) into a tree."""

from dataclasses import dataclass

Ranges = tuple[tuple[int, int], ...]
"""Characters as ranges of code points, both ends included."""

PATTERN_MAX = 200
_NESTING_MAX = 20
_REPEATS_MAX = 200
_LAST = 0x10FFFF

_DIGITS: Ranges = ((0x30, 0x39),)
_WORDS: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
# WhiteSpace and LineTerminator of ECMAScript.
_SPACES: Ranges = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
_LINE_ENDS: Ranges = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_SETS = {"d": _DIGITS, "w": _WORDS, "s": _SPACES}
_CONTROLS = {"t": 0x09, "n": 0x0A, "v": 0x0B, "f": 0x0C, "r": 0x0D}
_HEX_LENGTHS = {"x": 2, "u": 4}


class BadPattern(ValueError):
    """The pattern cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One of these characters."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The part ``least`` to ``most`` times; None is without end."""

    part: "Node"
    least: int
    most: int | None


Node = Chars | Sequence | Choice | Repeat


def parse(text: str) -> Node:
    """The tree of a pattern. Raises BadPattern."""
    if len(text) > PATTERN_MAX:
        raise BadPattern(f"A pattern has {PATTERN_MAX} characters at most.")
    reader = _Reader(text)
    tree = reader.choice(0)
    if not reader.is_at_end:
        raise BadPattern("There is a ) without its (.")
    return tree


class _Reader:
    """Recursive descent; each method reads one construct and stands behind it afterwards."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether everything is read."""
        return self._at == len(self._text)

    def choice(self, depth: int) -> Node:
        """Sequences with ``|`` between them."""
        if depth > _NESTING_MAX:
            raise BadPattern(f"Groups may be nested {_NESTING_MAX} deep.")
        parts = [self._sequence(depth)]
        while self._take("|"):
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self, depth: int) -> Node:
        # A match is of the whole value: the anchors that many write say nothing more.
        if depth == 0:
            self._take("^")
        parts = []
        while self._next not in ("", "|", ")"):
            if depth == 0 and self._next == "$" and self._text[self._at + 1 :][:1] in ("", "|"):
                self._at += 1
                break
            parts.append(self._repeated(self._atom(depth)))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _atom(self, depth: int) -> Node:
        character = self._read()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return Chars(self._class())
        if character == ".":
            return Chars(_inverted(_LINE_ENDS))
        if character == "\\":
            return Chars(self._escape())
        if character in "*+?{":
            raise BadPattern(f"There is nothing to repeat before {character}; \\{character} is it.")
        if character in "^$":
            raise BadPattern(
                f"A pattern always matches the whole value: leave {character} out, or write "
                f"\\{character} for the character."
            )
        return Chars(_single(ord(character)))

    def _group(self, depth: int) -> Node:
        if self._take("?") and not self._take(":"):
            raise BadPattern("Groups are ( ) or (?: ); looking ahead or behind is not possible.")
        inner = self.choice(depth + 1)
        if not self._take(")"):
            raise BadPattern("There is a ( without its ).")
        return inner

    def _repeated(self, part: Node) -> Node:
        least: int
        most: int | None
        if self._take("*"):
            least, most = 0, None
        elif self._take("+"):
            least, most = 1, None
        elif self._take("?"):
            least, most = 0, 1
        elif self._take("{"):
            least, most = self._bounds()
        else:
            return part
        # For the match of a whole value it makes no difference which end a repetition tries first.
        self._take("?")
        if self._next in ("*", "+", "?", "{"):
            raise BadPattern("Two repetitions follow each other; put a group around the first.")
        return Repeat(part, least, most)

    def _bounds(self) -> tuple[int, int | None]:
        inside, brace, _ = self._text[self._at :].partition("}")
        low, comma, high = inside.partition(",")
        if not brace or not _is_number(low) or not (high == "" or _is_number(high)):
            raise BadPattern("Give a repetition as {2}, {2,} or {2,5}.")
        self._at += len(inside) + 1
        least = int(low)
        most = int(high) if high else None if comma else least
        if max(least, most or 0) > _REPEATS_MAX:
            raise BadPattern(f"A repetition counts to {_REPEATS_MAX} at most; use max_length.")
        if most is not None and most < least:
            raise BadPattern("A repetition ends before it begins.")
        return least, most

    def _class(self) -> Ranges:
        is_inverted = self._take("^")
        found: list[tuple[int, int]] = []
        while not self._take("]"):
            low = self._member()
            if self._next != "-" or self._text[self._at + 1 :][:1] in ("", "]"):
                found += low
                continue
            self._at += 1
            high = self._member()
            first, last = _only(low), _only(high)
            if last < first:
                raise BadPattern("A range in [ ] ends before it begins.")
            found.append((first, last))
        ranges = _merged(found)
        return _inverted(ranges) if is_inverted else ranges

    def _member(self) -> Ranges:
        character = self._read()
        if character == "[":
            raise BadPattern("Write \\[ for the character [ inside [ ].")
        return self._escape() if character == "\\" else _single(ord(character))

    def _escape(self) -> Ranges:
        character = self._read()
        if character.lower() in _SETS:
            ranges = _SETS[character.lower()]
            return ranges if character.islower() else _inverted(ranges)
        if character in _CONTROLS:
            return _single(_CONTROLS[character])
        if character in _HEX_LENGTHS:
            return _single(self._hex(_HEX_LENGTHS[character]))
        if character.isascii() and character.isalnum():
            raise BadPattern(f"\\{character} is not possible in a pattern.")
        return _single(ord(character))

    def _hex(self, length: int) -> int:
        digits = self._text[self._at : self._at + length]
        if len(digits) < length or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            raise BadPattern("Give a character as \\x2d or \\u002d.")
        self._at += length
        return int(digits, 16)

    @property
    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _read(self) -> str:
        character = self._next
        if not character:
            raise BadPattern("The pattern ends too early.")
        self._at += 1
        return character

    def _take(self, character: str) -> bool:
        is_there = self._next == character
        self._at += is_there
        return is_there


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_REPEATS_MAX))


def _single(character: int) -> Ranges:
    return ((character, character),)


def _only(ranges: Ranges) -> int:
    [(low, high), *others] = ranges
    if others or low != high:
        raise BadPattern("A range in [ ] is from one character to another.")
    return low


def _merged(ranges: list[tuple[int, int]]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def _inverted(ranges: Ranges) -> Ranges:
    inverted, start = [], 0
    for low, high in ranges:
        if start < low:
            inverted.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        inverted.append((start, _LAST))
    return tuple(inverted)
