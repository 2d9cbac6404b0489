"""Preparing a probe: its token, and values that the gateway's own checks accept."""

from dataclasses import replace
from datetime import date
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.management import Services
from backend.probes.samples import sample_files, sample_values
from contracts.fields import DeclaredField, FieldType
from contracts.patterns import Pattern
from contracts.probes import PROBE_SECONDS, ProbeTokens
from contracts.problems import Problem, Rejected
from contracts.runtime.clock import iso
from gateway.declared_fields import DeclaredFields
from tests.backend.builders import Account, add_form, create_form
from tests.backend.conftest import INTERNAL_TOKEN
from tests.backend.form_builders import reaching
from tests.support.builders import NOW_MS, form_config

TODAY = date(2026, 6, 30)
DECLARED = [
    DeclaredField("x", FieldType.TEXT),
    DeclaredField("x", FieldType.TEXT, min_length=500, max_length=500),
    DeclaredField("x", FieldType.TEXT, max_length=3),
    DeclaredField("x", FieldType.TEXT, pattern="[0-9]{5}"),
    DeclaredField("x", FieldType.TEXT, pattern="[A-Z]{2}-\\d+", min_length=9, max_length=9),
    DeclaredField("x", FieldType.TEXT, pattern="|yes|no"),
    DeclaredField("x", FieldType.EMAIL),
    DeclaredField("x", FieldType.EMAIL, min_length=40),
    DeclaredField("x", FieldType.EMAIL, max_length=8),
    DeclaredField("x", FieldType.EMAIL, multiple=True),
    DeclaredField("x", FieldType.EMAIL, pattern=".+@company\\.example"),
    DeclaredField("x", FieldType.URL),
    DeclaredField("x", FieldType.URL, min_length=100),
    DeclaredField("x", FieldType.URL, max_length=12),
    DeclaredField("x", FieldType.URL, pattern="https://shop\\.example/.*"),
    DeclaredField("x", FieldType.TEL),
    DeclaredField("x", FieldType.TEL, pattern="\\+49[0-9]{8,12}"),
    DeclaredField("x", FieldType.TEL, min_length=30),
    DeclaredField("x", FieldType.TEL, max_length=2),
    DeclaredField("x", FieldType.NUMBER),
    DeclaredField("x", FieldType.NUMBER, min=2.5, max=2.75),
    DeclaredField("x", FieldType.NUMBER, max=-1e300),
    DeclaredField("x", FieldType.NUMBER, min=5),
    DeclaredField("x", FieldType.INTEGER, min=2.5),
    DeclaredField("x", FieldType.INTEGER, max=-2.5),
    DeclaredField("x", FieldType.DATE),
    DeclaredField("x", FieldType.DATE, min="2030-01-01"),
    DeclaredField("x", FieldType.DATE, max="1999-12-31"),
    DeclaredField("x", FieldType.CHECKBOX),
    DeclaredField("x", FieldType.CHECKBOX, options=("[1]", "b"), multiple=True),
    DeclaredField("x", FieldType.SELECT, options=("sales",)),
    DeclaredField("x", FieldType.SELECT, options=("sales", "press"), multiple=True, max_items=1),
    DeclaredField("x", FieldType.RADIO, options=("yes", "no")),
]


@pytest.mark.parametrize("field", DECLARED, ids=lambda field: field.type.value)
@pytest.mark.parametrize("email", [None, "o@b.example"])
def test_the_values_are_what_the_form_asks_for(field: DeclaredField, email: str | None) -> None:
    required = replace(field, required=True)
    values = sample_values((required,), "_gotcha", email, TODAY)
    assert DeclaredFields().violations(form_config(fields=(required,)), values, ()) == []


@given(
    st.recursive(
        st.sampled_from(["a", "[b-d]", "\\d", ".", "[^a]", "\\s", "é"]),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map("|".join),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{3}", "{2,}"])).map(
                lambda pair: f"(?:{pair[0]}){pair[1]}"
            ),
        ),
        max_leaves=8,
    ),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_a_sample_matches_its_pattern_within_its_length(text: str, least: int, more: int) -> None:
    pattern = Pattern(text)
    sample = pattern.sample(least, least + more)
    if sample is not None:
        assert pattern.matches(sample)
        assert least <= len(sample) <= least + more


def test_a_sample_is_short_and_readable_or_none() -> None:
    assert Pattern("[a-z]+@[a-z]+\\.[a-z]{2}").sample(0, 100) == "a@a.aa"
    assert Pattern("\\s\\w").sample(0, 10) == " a"
    assert Pattern("a{5}").sample(0, 4) is None
    assert Pattern("a{5}").sample(6, 10) is None


def test_files_traps_and_ticks_that_need_not_be_are_left_out() -> None:
    declared = (
        DeclaredField("_gotcha"),
        DeclaredField("formflow_probe"),
        DeclaredField("newsletter", FieldType.CHECKBOX),
        DeclaredField("terms", FieldType.CHECKBOX, required=True),
        DeclaredField("cv", FieldType.FILE, required=True),
        DeclaredField("photo", FieldType.FILE),
    )
    assert sample_values(declared, "_gotcha", None, TODAY) == {"terms": "on"}
    assert sample_files(declared) == ["cv"]


def test_the_owners_address_is_given_but_never_made_another() -> None:
    asks = DeclaredField("email", FieldType.EMAIL)
    long = DeclaredField("email", FieldType.EMAIL, min_length=30)
    assert sample_values((asks,), None, "o@b.example", TODAY) == {"email": "o@b.example"}
    assert "b.example" not in str(sample_values((long,), None, "o@b.example", TODAY))


@pytest.mark.asyncio
async def test_a_probe_is_prepared_for_five_minutes_and_one_form(
    client: httpx.AsyncClient,
) -> None:
    fields = [{"name": "email", "type": "email"}, {"name": "cv", "type": "file", "required": True}]
    form = await create_form(client, fields=fields, notify_emails="o@b.example,p@b.example")
    answer = await client.post(f"/v1/forms/{form['id']}/probe")
    assert answer.status_code == 200, answer.text
    prepared: dict[str, Any] = answer.json()
    token = prepared.pop("token").encode()
    assert prepared == {
        "fields": {"email": "o@b.example"},
        "files": ["cv"],
        "ingest_url": "/v1/f/contact",
        "expires_at": iso(NOW_MS + PROBE_SECONDS * 1000),
    }
    tokens = ProbeTokens(INTERNAL_TOKEN)
    assert tokens.is_valid(token, form["id"], NOW_MS)
    assert not tokens.is_valid(token, "frm_other", NOW_MS)


@pytest.mark.asyncio
async def test_a_form_beyond_reach_is_missing(services: Services, account: Account) -> None:
    form = await add_form(services, account)
    for caller in (
        reaching(account, is_sandbox=True),
        reaching(account, environment="staging"),
        reaching(account, form_ids=frozenset({"frm_other"})),
    ):
        with pytest.raises(Rejected) as refused:
            await services.probes.prepare(caller, form.id)
        assert refused.value.problem is Problem.NOT_FOUND
