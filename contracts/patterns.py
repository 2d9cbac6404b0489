"""Patterns of declared fields: HTML's ``pattern`` attribute, without what could take long.

A pattern matches a value as a whole. It is written as in JavaScript, of: characters, ``.``, classes
(``[a-z]``, ``[^a-z]``), ``\\d \\w \\s`` and their capitals, escapes, groups, ``|``, and the
repetitions ``* + ? {2} {2,} {2,5}``. It becomes a deterministic automaton of bounded size
(Glushkov's construction of the positions, then subsets of them), so that a match costs one look-up
a character for every pattern and every value. What no such automaton can do is refused: looking
around and back-references.
"""

import string
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import groupby

from contracts.pattern_syntax import BadPattern, Chars, Choice, Node, Ranges, Repeat, parse

__all__ = ["VALUE_MAX", "BadPattern", "Pattern"]

VALUE_MAX = 1_000
"""The characters of a value that a pattern may match; a longer value does not match."""

_POSITIONS_MAX = 200
_STEPS_MAX = 2_000
_STATES_MAX = 1_000
_SIZE_MAX = 10_000
_ASCII = 128
_SAMPLE_STEPS_MAX = 200_000
# For samples, those that people read best first.
_READABLE = (
    string.ascii_lowercase + string.digits + string.ascii_uppercase + string.punctuation + " "
)
_SURROGATES = range(0xD800, 0xE000)
_END = 0x110000


class Pattern:
    """A compiled pattern. ``size`` counts the entries of its table, two bytes each."""

    def __init__(self, text: str) -> None:
        """Raises BadPattern, which says what is wrong with ``text``."""
        positions = _Positions(parse(text))
        self._starts, masks = _intervals(positions.ranges)
        kinds = {mask: kind for kind, mask in enumerate(dict.fromkeys(masks))}
        self._kinds = [kinds[mask] for mask in masks]
        self._ascii = [self._kind(character) for character in range(_ASCII)]
        self._width = len(kinds)
        self._table, self._accepts = _determinised(positions, list(kinds))
        self.size = len(self._table)

    def matches(self, value: str) -> bool:
        """Whether the whole value matches."""
        if len(value) > VALUE_MAX:
            return False
        state = 0
        for character in map(ord, value):
            kind = self._ascii[character] if character < _ASCII else self._kind(character)
            state = self._table[state * self._width + kind]
            if state < 0:
                return False
        return self._accepts[state]

    def sample(self, least: int, most: int) -> str | None:
        """A text of at least ``least`` and at most ``most`` characters that matches, as short as
        can be; None if there is none, or none is found with reasonable effort."""
        characters = self._samples_of_kinds()
        # For each length, the states that can be reached, each with the one before and how.
        reached: list[dict[int, tuple[int, str]]] = [{0: (0, "")}]
        steps = 0
        for length in range(min(most, VALUE_MAX) + 1):
            ends = [state for state in reached[length] if self._accepts[state]]
            if ends and length >= least:
                return _traced(reached, ends[0])
            longer: dict[int, tuple[int, str]] = {}
            for state in reached[length]:
                for kind, character in characters:
                    following = self._table[state * self._width + kind]
                    if following >= 0:
                        longer.setdefault(following, (state, character))
            steps += len(reached[length]) * len(characters)
            if not longer or steps > _SAMPLE_STEPS_MAX:
                break
            reached.append(longer)
        return None

    def _samples_of_kinds(self) -> list[tuple[int, str]]:
        """Each kind that has a character which can be shown, with one."""
        samples = {
            kind: chr(start)
            for start, kind in zip(self._starts, self._kinds, strict=True)
            if start >= ord(" ") and start not in _SURROGATES
        }
        samples |= {self._kind(ord(character)): character for character in reversed(_READABLE)}
        # In the order of the samples: of several ways the readable one is taken.
        return sorted(samples.items(), key=lambda item: _READABLE.find(item[1]) % _END)

    def _kind(self, character: int) -> int:
        return self._kinds[bisect_right(self._starts, character) - 1]


class _Part:
    """What of a pattern's part its neighbours see: sets of positions, as bits."""

    __slots__ = ("first", "is_nullable", "last")

    def __init__(self, first: int, last: int, is_nullable: bool) -> None:
        self.first = first
        self.last = last
        self.is_nullable = is_nullable


class _Positions:
    """Glushkov's construction. ``ranges`` says of each position which characters it takes,
    ``follow`` which positions may come after it."""

    def __init__(self, root: Node) -> None:
        self.ranges: list[Ranges] = []
        self.follow: list[int] = []
        self._steps = 0
        self.whole = self._build(root)

    def after(self, positions: int) -> int:
        """The positions that may come after one of these."""
        found = 0
        for position in _bits(positions):
            found |= self.follow[position]
        return found

    def _build(self, node: Node) -> _Part:
        self._steps += 1
        if self._steps > _STEPS_MAX or len(self.ranges) >= _POSITIONS_MAX:
            raise _too_large()
        if isinstance(node, Chars):
            return self._position(node)
        if isinstance(node, Repeat):
            return self._repeat(node)
        if isinstance(node, Choice):
            return self._choice(node)
        part = _Part(0, 0, True)
        for member in node.parts:
            part = self._join(part, self._build(member))
        return part

    def _position(self, node: Chars) -> _Part:
        bit = 1 << len(self.ranges)
        self.ranges.append(node.ranges)
        self.follow.append(0)
        return _Part(bit, bit, False)

    def _choice(self, node: Choice) -> _Part:
        parts = [self._build(member) for member in node.parts]
        first = last = 0
        for part in parts:
            first |= part.first
            last |= part.last
        return _Part(first, last, any(part.is_nullable for part in parts))

    def _repeat(self, node: Repeat) -> _Part:
        whole = _Part(0, 0, True)
        is_endless = node.most is None
        copies = max(node.least, 1) if node.most is None else node.most
        for number in range(1, copies + 1):
            part = self._build(node.part)
            if is_endless and number == copies:
                self._link(part, part)
            if number > node.least:
                part.is_nullable = True
            whole = self._join(whole, part)
        return whole

    def _join(self, before: _Part, behind: _Part) -> _Part:
        self._link(before, behind)
        return _Part(
            before.first | behind.first if before.is_nullable else before.first,
            behind.last | before.last if behind.is_nullable else behind.last,
            before.is_nullable and behind.is_nullable,
        )

    def _link(self, before: _Part, behind: _Part) -> None:
        for position in _bits(before.last):
            self.follow[position] |= behind.first


def _intervals(ranges: list[Ranges]) -> tuple[list[int], list[int]]:
    """Where each interval of characters starts that no position tells apart, and the positions,
    as bits, that take its characters."""
    edges = {0} | {edge for taken in ranges for low, high in taken for edge in (low, high + 1)}
    starts = sorted(edge for edge in edges if edge < _END)
    masks = [0] * len(starts)
    by_ranges = sorted(range(len(ranges)), key=lambda position: ranges[position])
    for taken, positions in groupby(by_ranges, key=lambda position: ranges[position]):
        mask = sum(1 << position for position in positions)
        for low, high in taken:
            for place in range(bisect_right(starts, low) - 1, bisect_right(starts, high)):
                masks[place] |= mask
    return starts, masks


def _determinised(positions: _Positions, masks: list[int]) -> tuple["array[int]", list[bool]]:
    """The table, a row a state and a column a kind of character, and which states accept."""
    whole = positions.whole
    expected, accepts = [whole.first], [whole.is_nullable]
    states: dict[int, int] = {}
    table = array("h")
    for following in expected:
        if len(expected) > _STATES_MAX or len(expected) * len(masks) > _SIZE_MAX:
            raise _too_large()
        for mask in masks:
            taken = following & mask
            if taken and taken not in states:
                states[taken] = len(expected)
                expected.append(positions.after(taken))
                accepts.append(bool(taken & whole.last))
            table.append(states[taken] if taken else -1)
    return table, accepts


def _traced(reached: list[dict[int, tuple[int, str]]], end: int) -> str:
    """The text that leads to the state ``end``, in as many steps as there are lengths."""
    characters = []
    for states in reversed(reached[1:]):
        end, character = states[end]
        characters.append(character)
    return "".join(reversed(characters))


def _bits(positions: int) -> Iterator[int]:
    while positions:
        lowest = positions & -positions
        yield lowest.bit_length() - 1
        positions ^= lowest


def _too_large() -> BadPattern:
    return BadPattern("The pattern is too large: repeat less, or use max_length.")
