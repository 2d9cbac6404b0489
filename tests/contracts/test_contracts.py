"""The closed tables, the shapes and the wire."""

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import internal
from contracts.forms import FormConfig, FormStatus, KeyRestrictions
from contracts.ids import is_id, new_id
from contracts.keys import ApiKey, KeyKind, mint_key, parse_key
from contracts.outcomes import Outcome
from contracts.problems import Problem, Rejected, problem_document
from contracts.submissions import ItemResult, ItemStatus
from tests.support.builders import form_config, key_grant, submission


@pytest.mark.parametrize("problem", list(Problem))
def test_every_problem_is_the_end_of_a_post_and_renders(problem: Problem) -> None:
    document = problem_document(Rejected(problem, "why", limit=3), "https://p.example")
    assert Outcome.of(problem).value == problem.slug
    assert document["type"] == f"https://p.example/{problem.slug}"
    assert (document["status"], document["error"], document["limit"]) == (problem.status, "why", 3)


def test_an_unknown_problem_of_a_newer_version_is_internal() -> None:
    assert Problem.by_slug("from-the-future") is Problem.INTERNAL


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_id("sub", now_ms) for now_ms in (0, 1, 1_700_000_000_000, 2**48 - 1)]
    assert ids == sorted(ids)
    assert all(is_id(text, "sub") for text in ids)
    assert len({new_id("sub", 5) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["", "sub_", "frm_" + "0" * 26, "sub_" + "u" * 26, "sub_0"])
def test_what_is_not_an_id_is_not_taken_for_one(text: str) -> None:
    assert not is_id(text, "sub")


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_minted_key_has_the_documented_shape(kind: KeyKind) -> None:
    key = mint_key(kind)
    key_id, _, rest = key.text.removeprefix(kind.prefix).partition("_")
    assert (len(key_id), len(rest)) == (12, 43 + 6)
    assert parse_key(key.text) == key
    assert key.display == key.text[:12]


def test_the_checksum_is_the_crc32_of_all_before() -> None:
    text = ApiKey(KeyKind.SUBMISSION, "0" * 12, "A" * 43).text
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = sum(alphabet.index(c) * 62**n for n, c in enumerate(reversed(text[-6:])))
    assert value == zlib.crc32(text[:-6].encode())


@given(st.data())
@settings(deadline=None)
def test_any_changed_character_of_a_key_is_noticed(data: st.DataObject) -> None:
    text = mint_key(KeyKind.MANAGEMENT).text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda c: c != text[at]))
    assert parse_key(text[:at] + other + text[at + 1 :]) is None


@given(st.text())
def test_no_text_breaks_the_key_parser(text: str) -> None:
    assert parse_key(text) is None
    assert parse_key("ff_sub_" + text) is None


def test_a_batch_survives_the_wire() -> None:
    batch = [submission(), submission(key_id="0123456789ab", payload='{"a":"\\u0000é"}')]
    assert internal.decode_batch(internal.encode_batch(batch)) == batch


def test_results_survive_the_wire() -> None:
    results = [
        ItemResult(ItemStatus.STORED, "sub_1", 1),
        ItemResult(ItemStatus.REJECTED, "sub_2", 2, "form-not-live"),
    ]
    assert internal.decode_batch_answer(internal.encode_results(results)).results == results


def test_look_ups_and_changes_survive_the_wire() -> None:
    form = form_config(redirect_hosts=("a.example",))
    answer = internal.LookupAnswer("e", 7, {"contact": form, "nobody": None})
    assert internal.decode_lookup(internal.encode_lookup(answer)) == answer
    changes = internal.ChangesAnswer("e", 7, False, {"contact": form, "gone": None}, ("k",))
    assert internal.decode_changes(internal.encode_changes(changes)) == changes
    restrictions = KeyRestrictions(("10.0.0.0/8",), ("frm_1",), "staging", True, 1)
    for grant in (None, key_grant(), key_grant(restrictions=restrictions)):
        verified = internal.VerifyAnswer("e", 7, grant)
        assert internal.decode_verify(internal.encode_verify(verified)) == verified


def test_an_older_gateway_does_not_say_that_it_heeds_restrictions() -> None:
    question = internal.KeyQuestion("ff_sub_…", "192.0.2.1")
    assert internal.decode_key(internal.encode_key(question)) == question
    older = internal.decode_key(b'{"key":"ff_sub_"}')
    assert older == internal.KeyQuestion("ff_sub_", None, heeds_restrictions=False)


def test_an_unrestricted_grant_is_what_an_older_version_reads() -> None:
    assert "restrictions" not in internal.grant_document(key_grant())


def test_unknown_members_are_ignored() -> None:
    body = internal.encode_lookup(internal.LookupAnswer("e", 7, {"contact": form_config()}))
    newer = body.replace(b'"slug":', b'"from_the_future":1,"slug":')
    assert internal.decode_lookup(newer) == internal.decode_lookup(body)


def test_a_form_with_an_unknown_status_is_undecodable_and_spoils_no_other() -> None:
    forms: dict[str, FormConfig | None] = {
        "a": form_config(slug="a", status=FormStatus.PAUSED),
        "b": form_config(slug="b"),
    }
    body = internal.encode_lookup(internal.LookupAnswer("e", 7, forms))
    answer = internal.decode_lookup(body.replace(b'"paused"', b'"embargoed"'))
    assert answer.undecodable == {"a"}
    assert answer.forms == {"b": forms["b"]}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"items":[1]}', b'{"items":[{}]}', b"\xff"])
def test_what_is_no_batch_is_undecodable(body: bytes) -> None:
    with pytest.raises(internal.UndecodableMessage):
        internal.decode_batch(body)
