"""A release beside the one before it: what a newer side adds is ignored, what an older side does
not say yet has its default, and nothing else may be left out."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from contracts import internal
from contracts.fields import DeclaredField
from contracts.forms import KeyRestrictions, QuotaState, TurnstileConfig, TurnstileOnOutage
from contracts.internal import UndecodableMessage
from contracts.leases import Lease, LeaseAsker, LeaseStatement
from contracts.submissions import ItemResult, ItemStatus, Receipt, StoredFile
from contracts.usage import Count, UsageReport
from tests.support.builders import form_config, key_grant, submission

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Message:
    """A message with every member set. ``optional`` are those that may be missing; ``maps`` the
    objects whose names are data."""

    body: bytes
    decode: Callable[[bytes], Any]
    optional: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()


FILE = StoredFile("fil_1", "cv", "cv.pdf", 3, "application/pdf", "ab" * 32, "1/2/3")
QUOTA = QuotaState(100, 100, 1)
GRANT = key_grant(restrictions=KeyRestrictions(("192.0.2.0/24",), ("frm_1",), "staging", True, 5))
FORM = form_config(
    redirect_url="https://a.example/",
    redirect_hosts=("a.example",),
    allowed_origins=("https://a.example",),
    turnstile=TurnstileConfig("secret", TurnstileOnOutage.HOLD, True),
    has_quota=False,
    fields=(DeclaredField("email", required=True, label="Mail", max_length=9, options=("a",)),),
    environment="staging",
)
FULL = submission(
    key_id="0" * 12,
    idempotency_key="k",
    fingerprint="f",
    files=(FILE,),
    is_promised=True,
    lease_id="lea_1",
)
FIELD_DEFAULTS = {
    *("type", "label", "required", "min_length", "max_length", "min", "max"),
    *("pattern", "options", "multiple", "max_items"),
}
FORM_DEFAULTS = frozenset({"has_quota", "fields", "environment", *FIELD_DEFAULTS})
FORMS = frozenset({"forms"})
MESSAGES = {
    "batch": Message(
        internal.encode_batch([FULL], LeaseAsker("h", "s")),
        internal.decode_asking_batch,
        frozenset({"key_id", "idempotency_key", "fingerprint", "is_promised", "lease_id", "asker"}),
    ),
    "results": Message(
        internal.encode_results(
            [ItemResult(ItemStatus.REJECTED, "sub_1", 1, "quota-exceeded", True, QUOTA)],
            [Lease("lea_1", "acc_1", 5, 9)],
        ),
        internal.decode_batch_answer,
        frozenset({"problem", "is_mismatch", "quota", "leases"}),
    ),
    "statement": Message(
        internal.encode_statement(LeaseStatement("h", "s", "a", {"lea_1": 2})),
        internal.decode_statement,
        maps=frozenset({"ended"}),
    ),
    "session": Message(internal.encode_session("s"), internal.decode_session),
    "usage": Message(
        internal.encode_usage_report(
            UsageReport("s", 1, (Count("acc_1", "2026-06-30", "spam", 3),))
        ),
        internal.decode_usage_report,
    ),
    "idempotency": Message(
        internal.encode_idempotency_question(internal.IdempotencyQuestion("frm_1", "k", "f")),
        internal.decode_idempotency_question,
    ),
    "receipt": Message(
        internal.encode_receipt(Receipt("sub_1", "frm_1", 1, True, True)),
        internal.decode_receipt,
        frozenset({"is_replay", "is_queued"}),
    ),
    "slugs": Message(internal.encode_slugs(["contact"]), internal.decode_slugs),
    "key": Message(
        internal.encode_key(internal.KeyQuestion("ff_sub_", "192.0.2.1", True)),
        internal.decode_key,
        frozenset({"client", "heeds_restrictions"}),
    ),
    "look-up": Message(
        internal.encode_lookup(internal.LookupAnswer("e", 7, {"contact": FORM})),
        internal.decode_lookup,
        FORM_DEFAULTS,
        FORMS,
    ),
    "grant": Message(
        internal.encode_verify(internal.VerifyAnswer("e", 7, GRANT)),
        internal.decode_verify,
        frozenset({"restrictions"}),
    ),
    "changes": Message(
        internal.encode_changes(
            internal.ChangesAnswer("e", 7, True, {"contact": FORM}, ("k",), {"lea_1": "h"})
        ),
        internal.decode_changes,
        FORM_DEFAULTS | {"recalls"},
        FORMS | {"recalls"},
    ),
}
NAMES = list(MESSAGES)


def objects(document: Any, maps: frozenset[str], at: Path = ()) -> Iterator[Path]:
    """Where the objects with members are."""
    if isinstance(document, list):
        for index, item in enumerate(document):
            yield from objects(item, maps, (*at, index))
    elif isinstance(document, dict):
        if not at or at[-1] not in maps:
            yield at
        for name, member in document.items():
            yield from objects(member, maps, (*at, name))


def found(document: Any, at: Path) -> Any:
    """What is there."""
    for step in at:
        document = document[step]
    return document


@pytest.mark.parametrize("name", NAMES)
def test_what_a_newer_side_adds_is_ignored(name: str) -> None:
    message = MESSAGES[name]
    document = orjson.loads(message.body)
    for at in list(objects(document, message.maps)):
        found(document, at)["from_the_future"] = {"deep": [1]}
    assert message.decode(orjson.dumps(document)) == message.decode(message.body)


@pytest.mark.parametrize("name", NAMES)
def test_what_an_older_side_leaves_out_has_its_default_and_nothing_else_may_be_missing(
    name: str,
) -> None:
    message = MESSAGES[name]
    document = orjson.loads(message.body)
    may_be_missing = set()
    for at in objects(document, message.maps):
        for member in found(document, at):
            older = copy.deepcopy(document)
            del found(older, at)[member]
            if is_decodable(message, orjson.dumps(older)):
                may_be_missing.add(member)
    assert may_be_missing == message.optional


def is_decodable(message: Message, body: bytes) -> bool:
    """Whether the message, and each form in it, can be decoded."""
    try:
        decoded = message.decode(body)
    except UndecodableMessage:
        return False
    return None not in getattr(decoded, "forms", {}).values() and not getattr(
        decoded, "undecodable", ()
    )


def test_defaults_promise_nothing_that_an_older_side_did_not() -> None:
    form = without("look-up", FORM_DEFAULTS).forms["contact"]
    assert (form.has_quota, form.fields, form.environment) == (True, (), "production")
    [item] = without("batch", MESSAGES["batch"].optional).items
    assert (item.is_promised, item.lease_id, item.key_id) == (False, None, None)
    question = without("key", MESSAGES["key"].optional)
    assert (question.client, question.heeds_restrictions) == (None, False)
    answer = without("results", MESSAGES["results"].optional)
    assert answer.leases == []
    assert answer.results[0] == ItemResult(ItemStatus.REJECTED, "sub_1", 1)
    assert without("changes", frozenset({"recalls"})).recalls == {}
    assert without("grant", frozenset({"restrictions"})).grant == key_grant()


def without(name: str, members: frozenset[str]) -> Any:
    """The message, decoded, with all of these members left out."""
    message = MESSAGES[name]
    document = orjson.loads(message.body)
    for at in reversed(list(objects(document, message.maps))):
        place = found(document, at)
        for member in members & place.keys():
            del place[member]
    return message.decode(orjson.dumps(document))


@pytest.mark.parametrize(
    ("name", "value", "unknown"),
    [("results", b'"rejected"', b'"deferred"'), ("look-up", b'"hold"', b'"pray"')],
)
def test_a_value_of_which_the_meaning_is_unknown_is_not_guessed(
    name: str, value: bytes, unknown: bytes
) -> None:
    message = MESSAGES[name]
    assert value in message.body
    assert not is_decodable(message, message.body.replace(value, unknown))


def test_what_a_gateway_says_of_itself_is_read_back_and_an_older_one_says_nothing() -> None:
    state = internal.GatewayState("web-1, process 7", "1.0", True, 12)
    assert internal.decode_gateway(internal.encode_gateway(state)) == state
    assert internal.decode_gateway({"epoch": "x", "since": "1"}) is None
