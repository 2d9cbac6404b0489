"""The body of what webhooks of the format ``formflow`` get.

Compact JSON with nothing escaped that need not be, and its members in a fixed order: what is signed
are these very bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from backend.delivery.attempts import SUBMISSION_CREATED, WEBHOOK_TEST
from backend.delivery.subjects import Subject
from backend.submissions.file_store import FileRow
from backend.submissions.links import FileLinks
from contracts.runtime.clock import iso


def submission_body(delivery_id: str, subject: Subject, links: FileLinks, now_ms: int) -> bytes:
    """Tells of a submission. Links to its files begin to count with this attempt."""
    data: dict[str, Any] = {
        "submission_id": subject.submission.id,
        "form_id": subject.form.id,
        "payload": orjson.loads(subject.submission.payload),
    }
    if subject.files:
        data["files"] = _files(subject.files, links, now_ms)
    return _envelope(SUBMISSION_CREATED, delivery_id, data, now_ms)


def ping_body(delivery_id: str, form_id: str, now_ms: int) -> bytes:
    """Tells of nothing: its receiver is being tried out."""
    return _envelope(WEBHOOK_TEST, delivery_id, {"form_id": form_id}, now_ms)


def _files(files: Sequence[FileRow], links: FileLinks, now_ms: int) -> list[dict[str, Any]]:
    return [
        {
            "id": file.id,
            "field": file.field,
            "name": file.name,
            "size": file.size,
            "content_type": file.content_type,
            "url": links.url(file.submission_id, file.id, from_ms=now_ms),
        }
        for file in files
    ]


def _envelope(event: str, delivery_id: str, data: Mapping[str, Any], now_ms: int) -> bytes:
    return orjson.dumps({"type": event, "id": delivery_id, "created_at": iso(now_ms), "data": data})
