"""What a probe's report makes of a submission, and where a probe is sent."""

from typing import Any

import pytest

from formflow.probe import address_of
from formflow.probe_report import Hop, Report, delivery_hops, has_ended, why_undelivered


def submission(*statuses: str, waiting: bool = False) -> dict[str, Any]:
    deliveries = [
        {
            "kind": "mail",
            "target": f"{number}@example.com",
            "status": status,
            "attempts": number,
            "last_error": "refused once",
            "finished_at": None if status == "pending" else "2026-06-30T10:00:01.250Z",
        }
        for number, status in enumerate(statuses)
    ]
    return {
        "status": "received",
        "received_at": "2026-06-30T10:00:00.000Z",
        "trace": {"deliveries": {"waiting": waiting}},
        "deliveries": deliveries,
    }


def test_it_has_ended_when_nothing_is_still_to_be_delivered() -> None:
    assert has_ended(submission())
    assert has_ended(submission("delivered", "failed", "parked"))
    assert not has_ended(submission("delivered", "pending"))
    assert not has_ended(submission(waiting=True))


def test_each_delivery_is_a_hop_and_so_is_the_outbox_while_it_waits() -> None:
    assert delivery_hops(submission("delivered", "pending", waiting=True)) == [
        Hop("mail", "0@example.com", "delivered", 1250, 0, None),
        Hop("mail", "1@example.com", "pending", None, 1, "refused once"),
        Hop("outbox", "", "pending"),
    ]


def test_the_problem_is_one_line_with_every_bad_hop() -> None:
    report = Report("frm_1", "0123", hops=[Hop("accept", "http://x/", "stored", 3, 1)])
    assert report.problem is None
    report.hops += delivery_hops(submission("delivered", "failed", "pending"))
    assert report.problem is not None
    assert "0@example.com" not in report.problem
    assert "1@example.com: failed (refused once)" in report.problem
    assert "2@example.com: pending" in report.problem
    assert "FORMFLOW_SMTP_URL" in report.problem


@pytest.mark.parametrize(
    ("mode", "status", "says"),
    [("test", "received", "mode test"), ("live", "held", "held"), ("live", "received", "webhook")],
)
def test_why_nothing_is_delivered(mode: str, status: str, says: str) -> None:
    assert says in why_undelivered({"mode": mode}, submission() | {"status": status})


@pytest.mark.parametrize(
    ("origin", "ingest_url", "address"),
    [
        ("https://a.example", "/v1/f/x", "https://a.example/v1/f/x"),
        ("https://a.example/", "https://b.example/v1/f/x", "https://b.example/v1/f/x"),
        ("https://a.example", "http://127.0.0.1:8787/v1/f/x", "https://a.example/v1/f/x"),
        ("http://localhost:1", "http://127.0.0.1:8787/v1/f/x", "http://127.0.0.1:8787/v1/f/x"),
    ],
)
def test_a_probe_goes_to_the_publicaddress_of(origin: str, ingest_url: str, address: str) -> None:
    assert address_of(origin, ingest_url) == address
