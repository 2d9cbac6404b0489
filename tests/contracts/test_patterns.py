import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.patterns import VALUE_MAX, BadPattern, Pattern

LETTERS = st.sampled_from("abc")
ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", r"\w", r"\d", "(?:)"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"]))
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        repeated.map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


PATTERNS = st.recursive(ATOMS, larger, max_leaves=8)


@given(PATTERNS, st.text(st.sampled_from("abc1\n-"), max_size=12))
def test_a_pattern_matches_what_python_matches(text: str, value: str) -> None:
    assert Pattern(text).matches(value) == bool(re.fullmatch(text, value))


@given(st.text(st.sampled_from(r"ab(|)[]*+?{},2-^$\.dwu"), max_size=30), st.text(max_size=20))
def test_any_text_is_a_pattern_or_is_refused(text: str, value: str) -> None:
    try:
        pattern = Pattern(text)
    except BadPattern:
        return
    assert pattern.matches(value) in (True, False)


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (r"[A-Z]{2}\d{4,6}", ["AB1234"], ["AB123", "AB1234567", "ab1234", "AB١٢٣٤"]),
        (r"^\d{5}$|^$", ["12345", ""], ["1234"]),
        (r"[\w.-]+@(?:example|test)\.com", ["a.b@test.com"], ["a@testxcom"]),
        (r"\u00c4\x2d[^\s]", ["Ä-x"], ["Ä- ", "Ä-\u00a0"]),
        (r".+", ["grüße 👋"], ["", "a\nb"]),
        (r"(a|b)*?c", ["abac"], ["ab"]),
        (r"[-a]\/\-", ["-/-", "a/-"], ["b/-"]),
        (r"[]|a", ["a"], ["", "b"]),
    ],
)
def test_a_pattern_reads_as_in_html(text: str, good: list[str], bad: list[str]) -> None:
    pattern = Pattern(text)
    assert [value for value in good if not pattern.matches(value)] == []
    assert [value for value in bad if pattern.matches(value)] == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("(a", "without its"),
        ("a)", "without its"),
        ("[a", "ends too early"),
        ("*a", "nothing to repeat"),
        ("a**", "Two repetitions"),
        ("a{3,2}", "ends before it begins"),
        ("a{x}", "Give a repetition"),
        ("[b-a]", "ends before it begins"),
        ("(?=a)", "looking ahead"),
        (r"(a)\1", "not possible"),
        (r"\bword", "not possible"),
        ("a$b", "whole value"),
        ("a{201}", "200"),
        ("(a{100}){3}", "too large"),
        ("(((((){200}){200}){200}){200}){200}", "too large"),
        ("(a|b)*a(a|b){20}", "too large"),
        ("(" * 30, "nested"),
        ("a" * 201, "200 characters"),
    ],
)
def test_what_cannot_be_matched_in_bounded_time_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadPattern, match=re.escape(reason)):
        Pattern(text)


def test_a_value_costs_one_look_up_a_character_where_backtracking_would_never_end() -> None:
    pattern = Pattern("(a|a|aa)+(a*)*b")
    assert not pattern.matches("a" * VALUE_MAX)
    assert pattern.matches("a" * (VALUE_MAX - 1) + "b")
    assert not pattern.matches("a" * VALUE_MAX + "b")
