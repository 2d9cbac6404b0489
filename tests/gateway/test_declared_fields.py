import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import internal
from contracts.fields import DeclaredField, FieldType
from contracts.forms import FormConfig, TurnstileConfig, TurnstileOnOutage
from contracts.problems import Rejected
from gateway.declared_fields import DeclaredFields
from tests.support.builders import form_config
from tests.support.gateways import running_gateway
from tests.support.mini_backend import MiniBackend
from tests.support.mini_turnstile import SECRET, running_turnstile

URL = "/v1/f/contact"
MISSING, EMPTY = "REQUIRED_FIELD_MISSING", "REQUIRED_FIELD_EMPTY"
TEXT, NUMERIC = "TYPE_TEXT", "TYPE_NUMERIC"
PAGE = {"accept": "text/html"}


def declared(kind: str = "text", **members: Any) -> DeclaredField:
    return DeclaredField("x", FieldType(kind), **members)


def codes_of(field: DeclaredField, *values: str | list[str] | None) -> list[str | None]:
    """The code that each value is refused with; None for a value that fits, or for one left out."""
    checks, form = DeclaredFields(), form_config(fields=(field,))
    found: list[str | None] = []
    for value in values:
        payload = {} if value is None else {"x": value}
        violations = checks.violations(form, payload, ())
        found.append(violations[0]["code"] if violations else None)
    return found


Values = list[str | list[str] | None]


@dataclass(frozen=True)
class Case:
    """A declaration, values that fit it, and values that are refused with ``code``."""

    field: DeclaredField
    good: Values
    bad: Values
    code: str = TEXT


CHOICE = {"options": ("a", "b")}
CASES = [
    Case(
        declared("email"),
        ["a@b", "a.b+c@x-y.example"],
        ["a", "a@", "a@b.", "a@-b", "a b@c", "ä@b.c", "a@" + "b" * 64, "a@b\n"],
        "TYPE_EMAIL",
    ),
    Case(
        declared("email", multiple=True),
        ["a@b, c@d", ["a@b", "c@d"], '["a@b"]'],
        ["a@b, c"],
        "TYPE_EMAIL",
    ),
    Case(
        declared("url"),
        ["https://example.com/ü?a#b", "HTTP://[::1]:80/"],
        ["example.com", "javascript:alert(1)", "https://", "https:// x", "https://[::1/"],
    ),
    Case(declared("tel"), ["+49 (0)30 / 12-34", "٠١٢٣"], ["call me", "+", "1" * 51]),
    Case(
        declared("number", min=0, max=1.5),
        ["0", "1.5", ".5", "1e-3"],
        ["-1", "1.51", "1e999", "NaN", "inf", "0x1", "1_0", "\uff11", "1\n", " 1", "1" * 101],
        NUMERIC,
    ),
    Case(declared("number"), ["-0", "1e308"], ["1e309", "-1e309"], NUMERIC),
    Case(
        declared("integer", min=1, max=10),
        ["1", "10", "007"],
        ["0", "11", "1.0", "9" * 100],
        NUMERIC,
    ),
    Case(
        declared("date", min="2026-01-01", max="2026-12-31"),
        ["2026-01-01", "2026-12-31"],
        ["2025-12-31", "2027-01-01", "2026-02-29", "26-01-01", "2026-1-1", "2026-01-01\n"],
    ),
    Case(declared("select", **CHOICE), ["a", "b"], ["c", "A", ["a", "b"]]),
    Case(
        declared("select", multiple=True, max_items=2, **CHOICE),
        [["a", "b"], "a", '["a","b"]'],
        [["a", "c"], ["a", "b", "a"], '["a",["b"]]'],
    ),
    Case(declared("radio", **CHOICE), ["a"], ["c"]),
    Case(declared("checkbox", multiple=True, **CHOICE), [["a", "b"]], [["a", "z"]]),
    Case(declared("checkbox"), ["on", "anything", "false", ["0", "1"]], []),
    Case(
        declared(min_length=2, max_length=3),
        ["ab", "abc", "a\r\nb", "äöü"],
        ["a", "abcd", ["ab", "ab"]],
    ),
    Case(declared(pattern="[0-9]{5}"), ["12345"], ["1234", "123456", "12345\n"]),
    Case(declared(multiple=True), [["a"] * 200], [["a"] * 201, f"[{'1,' * 200}1]"]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.field.type.value)
def test_a_type_takes_what_its_input_sends(case: Case) -> None:
    assert codes_of(case.field, *case.good) == [None] * len(case.good)
    assert codes_of(case.field, *case.bad) == [case.code] * len(case.bad)


def test_only_required_asks_for_a_value() -> None:
    for kind in ("text", "email", "number", "date", "file", "checkbox"):
        assert codes_of(declared(kind, multiple=True), None, "", ["", ""]) == [None] * 3
        assert codes_of(declared(kind, required=True), None, "") == [MISSING, EMPTY]


def test_a_required_checkbox_must_be_ticked() -> None:
    box = declared("checkbox", required=True)
    assert codes_of(box, "on", "yes, I do", ["0", "1"]) == [None] * 3
    assert codes_of(box, "false", "off", "NO", "0", ["1", "0"]) == [EMPTY] * 5


LIMITS: dict[FieldType, dict[str, Any]] = {
    FieldType.TEXT: {"min_length": 2, "max_length": 9, "pattern": "(a*)*b"},
    FieldType.EMAIL: {"pattern": r"(\w|\w\w)+@.*"},
    FieldType.URL: {},
    FieldType.TEL: {},
    FieldType.NUMBER: {"min": -1.5, "max": 10},
    FieldType.INTEGER: {"min": 0, "max": 2**60},
    FieldType.DATE: {"min": "2020-01-01"},
    FieldType.CHECKBOX: {},
    FieldType.SELECT: {"options": ("a", "b")},
    FieldType.FILE: {"max_items": 2},
}
FIELDS = [
    DeclaredField(kind.value, kind, required=True, multiple=multiple, **limits)
    for multiple in (False, True)
    for kind, limits in LIMITS.items()
]
HOSTILE = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from("a@.-"), max_size=300),
    st.text(st.sampled_from('[]{}",1e-\\'), max_size=300),
    st.text(st.sampled_from("0123456789eE+-."), max_size=300),
    st.sampled_from(["[" * 1100, "[" * 400 + "]" * 400, '[{"a":1}]', "[null]", "9" * 5000, "\0"]),
)


@given(st.sampled_from(FIELDS), st.one_of(HOSTILE, st.lists(HOSTILE, max_size=5)))
def test_no_value_breaks_a_check(field: DeclaredField, value: str | list[str]) -> None:
    form = form_config(fields=(field,))
    for violation in DeclaredFields().violations(form, {field.name: value}, ()):
        assert sorted(violation) == ["code", "field", "message"]


@given(st.sampled_from(FIELDS))
def test_a_declaration_survives_the_wire(field: DeclaredField) -> None:
    answer = internal.LookupAnswer("epoch", 1, {"contact": form_config(fields=(field,))})
    assert internal.decode_lookup(internal.encode_lookup(answer)) == answer


def test_a_backend_that_knows_no_declared_fields_enforces_none() -> None:
    answer = internal.LookupAnswer("epoch", 1, {"contact": form_config()})
    body = internal.encode_lookup(answer).replace(b'"fields":[],', b"")
    assert b"fields" not in body
    assert internal.decode_lookup(body) == answer


def test_a_form_of_an_unknown_type_of_field_is_not_taken_for_one_without() -> None:
    answer = internal.LookupAnswer("epoch", 1, {"contact": form_config(fields=(declared(),))})
    body = internal.encode_lookup(answer).replace(b'"type":"text"', b'"type":"colour"')
    assert internal.decode_lookup(body).undecodable == {"contact"}


def test_a_pattern_of_a_newer_version_is_unavailable_rather_than_passed() -> None:
    form = form_config(fields=(declared(pattern="(?=a)"),))
    with pytest.raises(Rejected) as caught:
        DeclaredFields().violations(form, {"x": "a"}, ())
    assert caught.value.problem.slug == "unavailable"


def enforcing(**members: Any) -> FormConfig:
    email = DeclaredField("email", FieldType.EMAIL, label="E-mail", required=True)
    age = DeclaredField("age", FieldType.INTEGER, min=18)
    return form_config(fields=(email, age), **members)


def errors_of(answer: httpx.Response) -> list[tuple[str, str]]:
    assert answer.status_code == 422, answer.text
    assert answer.json()["type"].endswith("/validation-error")
    return [(error["field"], error["code"]) for error in answer.json()["errors"]]


@pytest.mark.asyncio
async def test_a_post_that_does_not_fit_is_refused_field_by_field() -> None:
    backend = MiniBackend(forms={"contact": enforcing()})
    async with running_gateway(backend) as gateway:
        answer = await gateway.post(URL, data={"age": "7", "other": "kept"})
        assert errors_of(answer) == [("email", MISSING), ("age", NUMERIC)]
        assert answer.json()["detail"] == (
            "E-mail: This field is required. age: Give a whole number of at least 18."
        )
        good = await gateway.post(URL, data={"email": "a@b.example", "other": "kept"})
    assert good.status_code == 200
    assert [item.payload for item in backend.submissions] == [
        '{"email":"a@b.example","other":"kept"}'
    ]


@pytest.mark.asyncio
async def test_a_browser_is_shown_what_is_wrong_and_its_own_text() -> None:
    backend = MiniBackend(forms={"contact": enforcing()})
    async with running_gateway(backend) as gateway:
        answer = await gateway.post(URL, data={"email": "ada", "text": "<long>"}, headers=PAGE)
    assert answer.status_code == 422
    assert "E-mail: Give an e-mail address." in answer.text
    assert "&lt;long&gt;" in answer.text


@pytest.mark.asyncio
async def test_a_changed_declaration_counts_from_the_feed_on() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    async with running_gateway(backend) as gateway:
        assert (await gateway.post(URL, data={"a": "b"})).status_code == 200
        backend.change("contact", enforcing(revision=2))
        await answers(gateway, 422)
        backend.change("contact", form_config(revision=3))
        await answers(gateway, 200)


async def answers(gateway: httpx.AsyncClient, status: int) -> None:
    """Posts until the answer is that, as it is once the feed was heard."""
    async with asyncio.timeout(5):
        while (await gateway.post(URL, data={"a": "b"})).status_code != status:
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_a_trapped_post_stays_spam_and_looks_like_any_other() -> None:
    backend = MiniBackend(forms={"contact": enforcing()})
    async with running_gateway(backend) as gateway:
        answer = await gateway.post(URL, data={"_gotcha": "x"})
    assert answer.status_code == 200
    assert [item.status for item in backend.submissions] == ["spam"]


@pytest.mark.asyncio
async def test_a_replay_is_one_though_the_declaration_has_changed_since() -> None:
    backend = MiniBackend(forms={"contact": form_config()})
    key = {"idempotency-key": "order-1"}
    async with running_gateway(backend) as gateway:
        first = await gateway.post(URL, data={"a": "b"}, headers=key)
    backend.forms["contact"] = enforcing(revision=2)
    # Another gateway, which has not seen the first post.
    async with running_gateway(backend) as gateway:
        again = await gateway.post(URL, data={"a": "b"}, headers=key)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.json()["id"] == first.json()["id"]
        other = await gateway.post(URL, data={"a": "b"}, headers={"idempotency-key": "order-2"})
        assert other.status_code == 422


@pytest.mark.asyncio
async def test_a_post_that_may_be_a_replay_is_not_judged_while_the_backend_is_away() -> None:
    backend = MiniBackend(forms={"contact": enforcing()})
    async with running_gateway(backend) as gateway:
        assert (await gateway.post(URL, data={})).status_code in (400, 422)
        backend.is_down = True
        answer = await gateway.post(URL, data={"a": "b"}, headers={"idempotency-key": "order-1"})
    assert answer.status_code == 503


@pytest.mark.asyncio
async def test_a_refused_post_costs_no_token_and_binds_no_key() -> None:
    check = TurnstileConfig(SECRET, TurnstileOnOutage.REFUSE, skip_with_key=True)
    backend = MiniBackend(forms={"contact": enforcing(turnstile=check)})
    key = {"idempotency-key": "order-1"}
    with running_turnstile() as turnstile:
        async with running_gateway(backend, turnstile_verify_url=turnstile.url) as gateway:
            token = {"cf-turnstile-response": "a-token"}
            errors_of(await gateway.post(URL, data=token, headers=key))
            assert turnstile.calls == []
            data = token | {"email": "a@b.example"}
            answer = await gateway.post(URL, data=data, headers=key)
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers


@pytest.mark.asyncio
async def test_files_are_counted_where_files_are_declared() -> None:
    cv = DeclaredField("cv", FieldType.FILE, required=True)
    name = DeclaredField("name", FieldType.TEXT)
    backend = MiniBackend(forms={"contact": form_config(fields=(cv, name))})
    file = ("cv.pdf", b"%PDF")
    async with running_gateway(backend) as gateway:
        assert (await gateway.post(URL, files={"cv": file})).status_code == 200
        missing = await gateway.post(URL, data={"name": "Ada"})
        assert errors_of(missing) == [("cv", MISSING)]
        by_name = await gateway.post(URL, data={"cv": "cv.pdf"})
        assert errors_of(by_name) == [("cv", TEXT)]
        two = await gateway.post(URL, files=[("cv", file), ("cv", file)])
        assert errors_of(two) == [("cv", TEXT)]
        elsewhere = await gateway.post(URL, files={"cv": file, "name": file})
        assert errors_of(elsewhere) == [("name", TEXT)]
