"""The internal surface: its routes and messages, encoded with orjson.

Rules of the wire: unknown members are ignored, so that a newer side may add some; an unknown
*value* where the meaning matters (a form status, an item status) makes that one document
undecodable, never the whole answer. Every request carries ``Authorization: Bearer <internal
token>``.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from contracts.fields import field_of
from contracts.forms import (
    FormConfig,
    FormStatus,
    KeyGrant,
    KeyRestrictions,
    QuotaState,
    TurnstileConfig,
    TurnstileOnOutage,
)
from contracts.leases import Lease, LeaseAsker, LeaseStatement, asker_of, lease_of, statement_of
from contracts.submissions import ItemResult, ItemStatus, Receipt, StoredFile, Submission
from contracts.usage import UsageReport, report_of

BASE = "/internal/v1"
SUBMISSIONS = f"{BASE}/submissions"
LOOKUP = f"{BASE}/lookup"
VERIFY_KEY = f"{BASE}/keys/verify"
CHANGES = f"{BASE}/changes"
IDEMPOTENCY = f"{BASE}/idempotency"
FILES = f"{BASE}/files"
BOOTSTRAP = f"{BASE}/bootstrap"
LEASES = f"{BASE}/leases"
USAGE = f"{BASE}/usage"

FORWARDED_BY = b"formflow-forwarded-by"
"""The header by which a gateway proves to the backend that a request came through it: then its
``X-Forwarded-For`` is the visitor's address."""

FEED_WAIT_SECONDS = 5
BATCH_ITEMS_MAX = 256
_GATEWAY_NAME_MAX = 100


class UndecodableMessage(ValueError):
    """The other side said something this version does not understand."""


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What a gateway says of itself with each poll of the feed: its name, its version, whether it
    is being stopped, and how many submissions wait in its spool and in those that it drains for
    workers that there are no more."""

    name: str
    version: str
    is_draining: bool
    spooled: int


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """Forms by slug; None means that there is no such form. ``revision`` is a lower bound of the
    state the answer shows."""

    epoch: str
    revision: int
    forms: dict[str, FormConfig | None]
    undecodable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VerifyAnswer:
    """The grant of a key, or None if it is not valid."""

    epoch: str
    revision: int
    grant: KeyGrant | None


@dataclass(frozen=True, slots=True)
class ChangesAnswer:
    """All that changed after the asked revision, up to ``revision``.

    ``forms`` holds, by slug, the new document of each changed form, or None for one to forget: it
    is gone, or this version cannot decode it. ``keys`` are the ids of keys to ask for again: they
    have changed or ended. ``recalls`` are the leases that are to be ended, each with its holder.
    ``is_reset`` says that the asker's state cannot be brought up to date by changes: it must treat
    all it holds as unknown.
    """

    epoch: str
    revision: int
    is_reset: bool
    forms: dict[str, FormConfig | None]
    keys: tuple[str, ...]
    recalls: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """Submissions to commit; ``asker`` is set if their gateway may be granted leases."""

    items: list[Submission]
    asker: LeaseAsker | None = None


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """A result for each submission, in order, and the open leases of the asker's session on the
    accounts of the batch."""

    results: list[ItemResult]
    leases: list[Lease] = field(default_factory=list)


def encode_batch(submissions: Iterable[Submission], asker: LeaseAsker | None = None) -> bytes:
    """The body of a batch commit."""
    document: dict[str, Any] = {"items": list(submissions)}
    if asker is not None:
        document["asker"] = asker
    return orjson.dumps(document)


def decode_batch(body: bytes) -> list[Submission]:
    """The submissions of a batch commit. Raises UndecodableMessage."""
    return decode_asking_batch(body).items


def decode_asking_batch(body: bytes) -> Batch:
    """A batch commit with its asker. Raises UndecodableMessage."""
    with _decoding("a batch of submissions"):
        document = orjson.loads(body)
        items = [
            Submission(
                id=item["id"],
                form_id=item["form_id"],
                received_at=item["received_at"],
                status=item["status"],
                payload=item["payload"],
                meta=item["meta"],
                trace=item["trace"],
                key_id=item.get("key_id"),
                idempotency_key=item.get("idempotency_key"),
                fingerprint=item.get("fingerprint"),
                files=tuple(_decode_file(file) for file in item["files"]),
                is_promised=item.get("is_promised", False),
                lease_id=item.get("lease_id"),
            )
            for item in document["items"]
        ]
        return Batch(items, asker_of(document.get("asker")))


def encode_results(results: Iterable[ItemResult], leases: Sequence[Lease] = ()) -> bytes:
    """The answer to a batch commit."""
    document: dict[str, Any] = {"results": list(results)}
    if leases:
        document["leases"] = leases
    return orjson.dumps(document)


def decode_batch_answer(body: bytes) -> BatchAnswer:
    """The answer to a batch commit. Raises UndecodableMessage."""
    with _decoding("the results of a batch"):
        document = orjson.loads(body)
        results = [
            ItemResult(
                ItemStatus(item["status"]),
                item["id"],
                item["received_at"],
                item.get("problem"),
                item.get("is_mismatch", False),
                _decode_quota(item.get("quota")),
            )
            for item in document["results"]
        ]
        return BatchAnswer(results, [lease_of(lease) for lease in document.get("leases", ())])


def encode_statement(statement: LeaseStatement) -> bytes:
    """What a holder says about its leases."""
    return orjson.dumps(statement)


def decode_statement(body: bytes) -> LeaseStatement:
    """What a holder says about its leases. Raises UndecodableMessage."""
    with _decoding("a statement of leases"):
        return statement_of(orjson.loads(body))


def encode_session(session: str) -> bytes:
    """The answer to a statement: the holder's session as the backend knows it."""
    return orjson.dumps({"session": session})


def decode_session(body: bytes) -> str:
    """The answer to a statement. Raises UndecodableMessage."""
    with _decoding("the answer to a statement of leases"):
        return str(orjson.loads(body)["session"])


def encode_usage_report(report: UsageReport) -> bytes:
    """What a gateway reports of its posts."""
    return orjson.dumps(report)


def decode_usage_report(body: bytes) -> UsageReport:
    """What a gateway reports of its posts. Raises UndecodableMessage."""
    with _decoding("a report of usage"):
        return report_of(orjson.loads(body))


@dataclass(frozen=True, slots=True)
class IdempotencyQuestion:
    """What a gateway asks before it spends a Turnstile token: is this key bound already?"""

    form_id: str
    key: str
    fingerprint: str


def encode_idempotency_question(question: IdempotencyQuestion) -> bytes:
    """The body of an early idempotency look-up."""
    return orjson.dumps(question)


def decode_idempotency_question(body: bytes) -> IdempotencyQuestion:
    """The body of an early idempotency look-up. Raises UndecodableMessage."""
    with _decoding("an idempotency look-up"):
        document = orjson.loads(body)
        return IdempotencyQuestion(document["form_id"], document["key"], document["fingerprint"])


def encode_receipt(receipt: Receipt | None) -> bytes:
    """The answer to an early idempotency look-up: the first submission's receipt, or None."""
    return orjson.dumps({"receipt": receipt})


def decode_receipt(body: bytes) -> Receipt | None:
    """The answer to an early idempotency look-up. Raises UndecodableMessage."""
    with _decoding("the answer to an idempotency look-up"):
        document = orjson.loads(body)["receipt"]
        return document and Receipt(
            document["submission_id"],
            document["form_id"],
            document["received_at"],
            is_replay=True,
            is_mismatch=document["is_mismatch"],
        )


def encode_slugs(slugs: Iterable[str]) -> bytes:
    """The body of a look-up of forms."""
    return orjson.dumps({"slugs": list(slugs)})


def decode_slugs(body: bytes) -> list[str]:
    """The slugs of a look-up. Raises UndecodableMessage."""
    with _decoding("a look-up"):
        return [str(slug) for slug in orjson.loads(body)["slugs"]]


@dataclass(frozen=True, slots=True)
class KeyQuestion:
    """What a gateway asks of a key: is it valid? ``client`` is the address that sent it, None when
    nobody waits for the answer. An asker that does not heed restrictions is told that a restricted
    key is not valid."""

    text: str
    client: str | None = None
    heeds_restrictions: bool = True


def encode_key(question: KeyQuestion) -> bytes:
    """The body of a key verification."""
    return orjson.dumps(
        {
            "key": question.text,
            "client": question.client,
            "heeds_restrictions": question.heeds_restrictions,
        }
    )


def decode_key(body: bytes) -> KeyQuestion:
    """The body of a key verification. Raises UndecodableMessage."""
    with _decoding("a key verification"):
        document = orjson.loads(body)
        return KeyQuestion(
            str(document["key"]),
            document.get("client"),
            document.get("heeds_restrictions") is True,
        )


def encode_lookup(answer: LookupAnswer) -> bytes:
    """The answer to a look-up of forms."""
    return orjson.dumps({"epoch": answer.epoch, "revision": answer.revision, "forms": answer.forms})


def decode_lookup(body: bytes) -> LookupAnswer:
    """The answer to a look-up of forms. Raises UndecodableMessage."""
    with _decoding("the answer to a look-up"):
        document = orjson.loads(body)
        forms, undecodable = _decode_forms(document["forms"])
        return LookupAnswer(document["epoch"], document["revision"], forms, undecodable)


def encode_verify(answer: VerifyAnswer) -> bytes:
    """The answer to the verification of a key."""
    grant = answer.grant and grant_document(answer.grant)
    return orjson.dumps({"epoch": answer.epoch, "revision": answer.revision, "grant": grant})


def decode_verify(body: bytes) -> VerifyAnswer:
    """The answer to the verification of a key. Raises UndecodableMessage."""
    with _decoding("the answer to a key verification"):
        document = orjson.loads(body)
        grant = document["grant"]
        return VerifyAnswer(document["epoch"], document["revision"], grant and grant_of(grant))


def grant_document(grant: KeyGrant) -> dict[str, Any]:
    """A grant as JSON. One without restrictions has no such member, so that an older version can
    read it from a snapshot, and does not use a snapshot that holds one with restrictions."""
    document: dict[str, Any] = {
        "key_id": grant.key_id,
        "account_id": grant.account_id,
        "revision": grant.revision,
        "rate_limit_per_minute": grant.rate_limit_per_minute,
        "burst": grant.burst,
    }
    if grant.restrictions is not None:
        document["restrictions"] = grant.restrictions
    return document


def grant_of(document: dict[str, Any]) -> KeyGrant:
    """The grant of that JSON. Raises KeyError, TypeError."""
    restrictions = document.get("restrictions")
    return KeyGrant(
        document["key_id"],
        document["account_id"],
        document["revision"],
        document["rate_limit_per_minute"],
        document["burst"],
        None if restrictions is None else _restrictions_of(restrictions),
    )


def _restrictions_of(document: dict[str, Any]) -> KeyRestrictions:
    return KeyRestrictions(
        _optional_tuple(document["allowed_ips"]),
        _optional_tuple(document["allowed_forms"]),
        document["environment"],
        document["is_test"],
        document["expires_at"],
    )


def _optional_tuple(items: list[str] | None) -> tuple[str, ...] | None:
    return None if items is None else tuple(items)


def encode_gateway(state: GatewayState) -> dict[str, str]:
    """A gateway's word on itself, as parameters of a query."""
    return {
        "gateway": state.name,
        "version": state.version,
        "draining": "1" if state.is_draining else "0",
        "spooled": str(state.spooled),
    }


def decode_gateway(query: Mapping[str, str]) -> GatewayState | None:
    """What a gateway says of itself; None if it says nothing, as one of an older version."""
    name, spooled = query.get("gateway", ""), query.get("spooled", "")
    if not name or not spooled.isdecimal():
        return None
    return GatewayState(
        name[:_GATEWAY_NAME_MAX],
        query.get("version", "")[:_GATEWAY_NAME_MAX],
        query.get("draining") == "1",
        int(spooled),
    )


def encode_changes(answer: ChangesAnswer) -> bytes:
    """An answer of the feed."""
    return orjson.dumps(
        {
            "epoch": answer.epoch,
            "revision": answer.revision,
            "reset": answer.is_reset,
            "forms": answer.forms,
            "keys": answer.keys,
            "recalls": answer.recalls,
        }
    )


def decode_changes(body: bytes) -> ChangesAnswer:
    """An answer of the feed. Raises UndecodableMessage."""
    with _decoding("an answer of the feed"):
        document = orjson.loads(body)
        forms, undecodable = _decode_forms(document["forms"])
        return ChangesAnswer(
            document["epoch"],
            document["revision"],
            document["reset"],
            forms | dict.fromkeys(undecodable),
            tuple(document["keys"]),
            document.get("recalls", {}),
        )


def forwarding_proof(token: str) -> bytes:
    """The value of ``FORWARDED_BY``; only who knows the internal token can make it, and it does not
    tell the token."""
    return hmac.digest(token.encode(), b"formflow forwarded by a gateway", "sha256").hex().encode()


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UndecodableMessage(f"not {what}: {error!r}") from error


def _decode_forms(
    documents: dict[str, Any],
) -> tuple[dict[str, FormConfig | None], frozenset[str]]:
    forms: dict[str, FormConfig | None] = {}
    undecodable = set()
    for slug, document in documents.items():
        try:
            forms[slug] = document and _decode_form(document)
        except (ValueError, KeyError, TypeError):
            undecodable.add(slug)
    return forms, frozenset(undecodable)


def _decode_form(document: dict[str, Any]) -> FormConfig:
    return FormConfig(
        id=document["id"],
        slug=document["slug"],
        account_id=document["account_id"],
        revision=document["revision"],
        name=document["name"],
        status=FormStatus(document["status"]),
        honeypot_field=document["honeypot_field"],
        redirect_url=document["redirect_url"],
        redirect_hosts=tuple(document["redirect_hosts"]),
        is_test=document["is_test"],
        allowed_origins=tuple(document["allowed_origins"]),
        rate_limit_per_minute=document["rate_limit_per_minute"],
        idempotency_strict=document["idempotency_strict"],
        turnstile=_decode_turnstile(document["turnstile"]),
        file_bytes=document["file_bytes"],
        # An older backend does not say; without a lease nothing is then promised for it.
        has_quota=document.get("has_quota", True),
        # Nor does it enforce fields; an older gateway ignores them.
        fields=tuple(field_of(field) for field in document.get("fields", ())),
        environment=document.get("environment", "production"),
    )


def _decode_turnstile(document: dict[str, Any] | None) -> TurnstileConfig | None:
    if document is None:
        return None
    return TurnstileConfig(
        document["secret"], TurnstileOnOutage(document["on_outage"]), document["skip_with_key"]
    )


def _decode_quota(document: dict[str, Any] | None) -> QuotaState | None:
    if document is None:
        return None
    return QuotaState(document["limit"], document["used"], document["resets_at"])


def _decode_file(document: dict[str, Any]) -> StoredFile:
    return StoredFile(
        document["id"],
        document["field"],
        document["name"],
        document["size"],
        document["content_type"],
        document["sha256"],
        document["object_key"],
    )
