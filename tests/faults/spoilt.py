"""``python -m tests.faults.spoilt VARIANT SERVICE``: the product with one piece broken.

Each variant is what a plausible program would do; a test that does not notice it is worth nothing.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import literal_column, update

import backend.db
import backend.delivery.store
import backend.internal.intake
import formflow.cli
import gateway.forwarder
import gateway.upstream
from backend.internal.quota import Ledger
from backend.tables import deliveries
from backend.transaction import among, encode_texts
from contracts.ids import new_id
from contracts.submissions import ItemResult, Receipt, Submission

_TRIES = 3


def acknowledge_early() -> None:
    """A gateway that answers before the commit."""
    forwarder: Any = gateway.forwarder.Forwarder
    accept = forwarder.accept
    under_way = set()

    async def accept_early(self: Any, submission: Submission, form: Any, *rest: Any) -> Receipt:
        task = asyncio.create_task(accept(self, submission, form, *rest))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return Receipt(submission.id, form.id, submission.received_at)

    forwarder.accept = accept_early


def mint_anew() -> None:
    """An impatient gateway that gives what it sends again a new id."""
    module: Any = gateway.upstream
    module._BATCH_SECONDS = 0.5
    upstream: Any = gateway.upstream.Upstream
    commit = upstream.commit

    async def commit_anew(
        self: Any, batch: Sequence[Submission], *rest: Any
    ) -> Sequence[ItemResult]:
        for _ in range(_TRIES):
            try:
                return await commit(self, batch, *rest)  # type: ignore[no-any-return]
            except gateway.upstream.UpstreamUnavailable:
                batch = [replace(item, id=new_id("sub", item.received_at)) for item in batch]
        return await commit(self, batch, *rest)  # type: ignore[no-any-return]

    upstream.commit = commit_anew


def forget_quota() -> None:
    """A backend that counts and does not refuse."""
    ledger: Any = Ledger
    start_right = ledger.__init__

    def start(self: Any, transaction: Any, limits: Any, *rest: Any, **named: Any) -> None:
        start_right(self, transaction, dict.fromkeys(limits), *rest, **named)

    ledger.__init__ = start


def sync_normal() -> None:
    """A backend whose commits do not wait for the disk."""
    module: Any = backend.db
    pragmas = (each.replace("synchronous=FULL", "synchronous=NORMAL") for each in module._PRAGMAS)
    module._PRAGMAS = tuple(pragmas)


def deliver_at_claim() -> None:
    """A backend that takes a delivery for made once it is claimed."""
    module: Any = backend.delivery.store
    claim_right = module.claim

    def claim(transaction: Any, *rest: Any, **named: Any) -> Any:
        claimed = claim_right(transaction, *rest, **named)
        ids = encode_texts([item.delivery.id for item in claimed])
        done = update(deliveries).where(among(deliveries.c.id, "ids"))
        transaction.run(done.values(status=literal_column("'delivered'")), [{"ids": ids}])
        return claimed

    module.claim = claim


VARIANTS: dict[str, Callable[[], None]] = {
    "acknowledge-early": acknowledge_early,
    "mint-anew": mint_anew,
    "forget-quota": forget_quota,
    "sync-normal": sync_normal,
    "deliver-at-claim": deliver_at_claim,
}


def command(variant: str) -> list[str]:
    """What runs a service that is spoilt so, less the service's name."""
    assert variant in VARIANTS
    return [sys.executable, "-m", "tests.faults.spoilt", variant]


if __name__ == "__main__":
    VARIANTS[sys.argv[1]]()
    sys.argv[:2] = ["formflow"]
    formflow.cli.main()
