"""``python -m tests.faults.spoilt VARIANT[,VARIANT…] COMMAND``: the product with a piece broken.

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
from contracts.runtime.failure import Failure, Loop
from contracts.submissions import ItemResult, Receipt, Submission
from tests.faults import spoilt_fleet, spoilt_storage
from tests.faults.crash_points import POINTS

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
    module.BATCH_SECONDS = 0.5
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
    # Copying the log syncs it: a cut right behind that would lose nothing.
    module._PRAGMAS = (*pragmas, "PRAGMA wal_autocheckpoint=0")


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


def mint_at_drain() -> None:
    """A gateway that gives what it has spooled a new id each time it sends it."""
    upstream: Any = gateway.upstream.Upstream
    commit = upstream.commit

    async def commit_anew(
        self: Any, batch: Sequence[Submission], *rest: Any
    ) -> Sequence[ItemResult]:
        anew = [
            replace(item, id=new_id("sub", item.received_at)) if item.is_promised else item
            for item in batch
        ]
        return await commit(self, anew, *rest)  # type: ignore[no-any-return]

    upstream.commit = commit_anew


def loop_dies() -> None:
    """A process in which something calls ``sys.exit`` from a background loop."""

    async def die(loop: Loop) -> None:
        loop.close()
        raise SystemExit(0)

    failure: Any = Failure
    watching_right = failure.watching
    failure.watching = lambda self, loops: watching_right(
        self, {name: die(loop) for name, loop in loops.items()}
    )


VARIANTS: dict[str, Callable[[], None]] = {
    "acknowledge-early": acknowledge_early,
    "mint-anew": mint_anew,
    "forget-quota": forget_quota,
    "sync-normal": sync_normal,
    "deliver-at-claim": deliver_at_claim,
    "loop-dies": loop_dies,
    "mint-at-drain": mint_at_drain,
    "ignore-eio": spoilt_storage.ignore_eio,
    "swallow-failures": spoilt_storage.swallow_failures,
    "never-wait": spoilt_storage.never_wait,
    "start-unchecked": spoilt_storage.start_unchecked,
    "keep-epoch": spoilt_storage.keep_epoch,
    "copy-plainly": spoilt_storage.copy_plainly,
    "spool-sync-normal": spoilt_storage.spool_sync_normal,
    "window-by-wall-clock": spoilt_fleet.window_by_wall_clock,
    "drain-at-once": spoilt_fleet.drain_at_once,
    "probe-with-all": spoilt_fleet.probe_with_all,
    "full-batches": spoilt_fleet.full_batches,
    "bind-no-key": spoilt_fleet.bind_no_key,
    "trust-gateway-keys": spoilt_fleet.trust_gateway_keys,
    "deaf-to-keys": spoilt_fleet.deaf_to_keys,
    "unbounded-tables": spoilt_fleet.unbounded_tables,
    "close-at-once": spoilt_fleet.close_at_once,
} | {f"crash-at-{point.name}": point.install for point in POINTS.values()}


def command(*variants: str) -> list[str]:
    """What runs ``formflow`` spoilt so, less its own arguments."""
    assert VARIANTS.keys() >= set(variants)
    return [sys.executable, "-m", "tests.faults.spoilt", ",".join(variants)]


if __name__ == "__main__":
    for variant in sys.argv[1].split(","):
        VARIANTS[variant]()
    sys.argv[:2] = ["formflow"]
    formflow.cli.main()
