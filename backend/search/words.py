"""The words of a text, and whether a submission has those that are looked for.

Both databases are given words, never text: what a word is, and which are the same, is decided here
and nowhere else. Case, accents and compatibility forms do not count (Unicode's NFKC_Casefold,
without the marks that combine with a letter). Chinese and Japanese, which put no spaces between
words, are taken character by character.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import orjson

WORD_MAX = 64
"""Characters of a word that count: the rest of a longer one is ignored on both sides."""
WORDS_MAX = 2_000
"""Different words of one submission that can be found: more would not fit a tsvector."""
PREFIX_MIN = 3
"""From so many characters on, the last word looked for may be the beginning of a longer one."""

_COMBINING = re.compile(r"[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u064b-\u065f\u3099\u309a]")
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: all of ``words``, and a word that begins with ``prefix``."""

    words: tuple[str, ...]
    prefix: str | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for, as in a text of punctuation: nothing matches."""
        return not self.words and self.prefix is None

    @property
    def stem(self) -> "Query | None":
        """A query that finds all that this one does and more, whose beginning is an indexed one;
        None if this one's is, or it has none."""
        if self.prefix is None or len(self.prefix) == PREFIX_MIN:
            return None
        return Query(self.words, self.prefix[:PREFIX_MIN])

    def matches(self, payload: str) -> bool:
        """Whether a submission with this payload, JSON text, is found."""
        words = set(words_of_payload(payload))
        if self.is_empty or not words.issuperset(self.words):
            return False
        prefix = self.prefix
        return prefix is None or any(word.startswith(prefix) for word in words)


def parse_query(text: str) -> Query:
    """What a text looks for. Every text means something: there is no syntax to get wrong."""
    found = list(words_of(text))
    prefix = found.pop() if found and len(found[-1]) >= PREFIX_MIN else None
    return Query(tuple(dict.fromkeys(found)), prefix)


def words_of(text: str) -> Iterator[str]:
    """The words of a text in order, as often as they occur, each in its one spelling."""
    return (word[:WORD_MAX] for word in _WORD.findall(_plain(text)))


def words_of_payload(payload: str) -> list[str]:
    """The different words of a submission's values, in order of appearance; the names of fields
    are the form's, not the visitor's. ``payload`` is JSON text."""
    texts = _texts(orjson.loads(payload).values())
    distinct = dict.fromkeys(word for text in texts for word in words_of(text))
    return list(islice(distinct, WORDS_MAX))


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from map(str, value)
        else:
            yield str(value)


def _plain(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Twice, because folding may yield what is not decomposed (Unicode, section 3.13, D145).
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return _COMBINING.sub("", folded)
