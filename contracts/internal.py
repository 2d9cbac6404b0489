"""The internal surface: its routes and messages, encoded with orjson.

Rules of the wire: unknown members are ignored, so that a newer side may add some; an unknown
*value* where the meaning matters (a form status, an item status) makes that one document
undecodable, never the whole answer. Every request carries ``Authorization: Bearer <internal
token>``.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from contracts.forms import (
    FormConfig,
    FormStatus,
    KeyGrant,
    QuotaState,
    TurnstileConfig,
    TurnstileOnOutage,
)
from contracts.submissions import ItemResult, ItemStatus, Receipt, StoredFile, Submission

BASE = "/internal/v1"
SUBMISSIONS = f"{BASE}/submissions"
LOOKUP = f"{BASE}/lookup"
VERIFY_KEY = f"{BASE}/keys/verify"
CHANGES = f"{BASE}/changes"
IDEMPOTENCY = f"{BASE}/idempotency"
FILES = f"{BASE}/files"
BOOTSTRAP = f"{BASE}/bootstrap"

FEED_WAIT_SECONDS = 5
BATCH_ITEMS_MAX = 256


class UndecodableMessage(ValueError):
    """The other side said something this version does not understand."""


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
    is gone, or this version cannot decode it. ``keys`` are the ids of keys that have ended.
    ``is_reset`` says that the asker's state cannot be brought up to date by changes: it must
    treat all it holds as unknown.
    """

    epoch: str
    revision: int
    is_reset: bool
    forms: dict[str, FormConfig | None]
    keys: tuple[str, ...]


def encode_batch(submissions: Iterable[Submission]) -> bytes:
    """The body of a batch commit."""
    return orjson.dumps({"items": list(submissions)})


def decode_batch(body: bytes) -> list[Submission]:
    """The submissions of a batch commit. Raises UndecodableMessage."""
    with _decoding("a batch of submissions"):
        return [
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
            )
            for item in orjson.loads(body)["items"]
        ]


def encode_results(results: Iterable[ItemResult]) -> bytes:
    """The answer to a batch commit."""
    return orjson.dumps({"results": list(results)})


def decode_results(body: bytes) -> list[ItemResult]:
    """The answer to a batch commit. Raises UndecodableMessage."""
    with _decoding("the results of a batch"):
        return [
            ItemResult(
                ItemStatus(item["status"]),
                item["id"],
                item["received_at"],
                item.get("problem"),
                item.get("is_mismatch", False),
                _decode_quota(item.get("quota")),
            )
            for item in orjson.loads(body)["results"]
        ]


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


def encode_key(text: str) -> bytes:
    """The body of a key verification."""
    return orjson.dumps({"key": text})


def decode_key(body: bytes) -> str:
    """The key of a verification. Raises UndecodableMessage."""
    with _decoding("a key verification"):
        return str(orjson.loads(body)["key"])


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
    return orjson.dumps(answer)


def decode_verify(body: bytes) -> VerifyAnswer:
    """The answer to the verification of a key. Raises UndecodableMessage."""
    with _decoding("the answer to a key verification"):
        document = orjson.loads(body)
        grant = document["grant"]
        return VerifyAnswer(
            document["epoch"],
            document["revision"],
            grant
            and KeyGrant(
                grant["key_id"],
                grant["account_id"],
                grant["revision"],
                grant["rate_limit_per_minute"],
                grant["burst"],
            ),
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
        )


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
