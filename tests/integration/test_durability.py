"""A 2xx is a promise: what was acknowledged is there after kill -9, once."""

import threading
from pathlib import Path

import httpx

from tests.support.processes import Product, until

FIELDS = {"email": "ada@example.com", "message": "Hello ☃\0"}


def test_each_body_type_survives_a_kill_of_everything(product: Product) -> None:
    with product.client() as client:
        path = f"/v1/f/{product.first['demo_form']}"
        answers = [
            client.post(path, data=FIELDS),
            client.post(path, json=FIELDS),
            client.post(path, files={name: (None, text) for name, text in FIELDS.items()}),
        ]
    product.kill_all()
    product.start()
    stored = {item["id"]: item["payload"] for item in product.submissions()}
    assert stored == {answer.json()["id"]: FIELDS for answer in answers}


def test_no_acknowledged_post_is_lost_or_doubled_while_processes_are_killed(
    product: Product,
) -> None:
    product.lift_rate_limit()
    acknowledged: list[str] = []
    is_over = threading.Event()

    def post() -> None:
        while not is_over.is_set():
            try:
                answer = httpx.post(
                    f"{product.url}/v1/f/demo", data={"n": str(len(acknowledged))}, timeout=20
                )
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                acknowledged.append(answer.json()["id"])

    clients = [threading.Thread(target=post) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        for service in ("gateway", "backend", "gateway", "backend", None):
            enough = len(acknowledged) + 20
            until(lambda enough=enough: len(acknowledged) > enough)  # type: ignore[misc]
            if service is not None:
                product.kill(service)
    finally:
        is_over.set()
        for client in clients:
            client.join()
    stored = [item["id"] for item in product.submissions()]
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored)


def test_children_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    product = Product(tmp_path / "data").start()
    children = [product.child("gateway"), product.child("backend")]
    product.kill_supervisor()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
