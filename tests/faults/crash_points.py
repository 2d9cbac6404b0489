"""Points of the product at which a process dies as by ``kill -9``: each is the worst moment of
something that has two halves."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import backend.delivery.dispatcher
import backend.internal.intake
import gateway.drain
import gateway.spool.disk
import gateway.spool.rows
from contracts.submissions import ItemStatus

EXIT_STATUS = 86
# Not the first time: what came before is a process at work.
_COMMITS = 3


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Where ``service`` dies, and what makes it so."""

    name: str
    service: str
    install: Callable[[], None]


def _die() -> None:
    # Neither handlers, nor buffers, nor locks: the kernel alone cleans up.
    os._exit(EXIT_STATUS)


def _after_commit() -> None:
    """The submissions are on the disk, and their gateway is never told."""
    intake: Any = backend.internal.intake.Intake
    answer_right = intake.answer
    commits = 0

    async def answer(self: Any, batch: Any) -> Any:
        nonlocal commits
        answer = await answer_right(self, batch)
        commits += any(result.status is ItemStatus.STORED for result in answer.results)
        if commits == _COMMITS:
            _die()
        return answer

    intake.answer = answer


def _after_claim() -> None:
    """The deliveries are claimed, durably, and none is under way yet."""
    dispatcher: Any = backend.delivery.dispatcher.Dispatcher
    claim_right = dispatcher._claim

    async def claim(self: Any, *rest: Any) -> Any:
        claimed = await claim_right(self, *rest)
        if claimed:
            _die()
        return claimed

    dispatcher._claim = claim


def _after_delivery() -> None:
    """The target has acknowledged, and nobody has written that down."""
    dispatcher: Any = backend.delivery.dispatcher.Dispatcher
    send_right = dispatcher._send

    async def send(self: Any, *rest: Any) -> None:
        await send_right(self, *rest)
        _die()

    dispatcher._send = send


def _after_drain_send() -> None:
    """The backend has what was spooled, and the spool has it, too."""
    drain: Any = gateway.drain.Drain
    take_off_right = drain._take_off

    async def take_off(self: Any, rows: Any, results: Any) -> None:
        if rows:
            _die()
        await take_off_right(self, rows, results)

    drain._take_off = take_off


def _before_settle_commit() -> None:
    """The rows are deleted, but the transaction that does it has not ended."""
    rows: Any = gateway.spool.rows
    delete_right = rows.delete

    def delete(*rest: Any) -> None:
        delete_right(*rest)
        _die()

    rows.delete = delete


def _after_spool_commit() -> None:
    """The submissions are in the spool, and their visitors are never told."""
    disk: Any = gateway.spool.disk.SpoolDisk
    put_right = disk.put

    def put(self: Any, rows: Any) -> None:
        put_right(self, rows)
        _die()

    disk.put = put


POINTS = {
    point.name: point
    for point in (
        CrashPoint("after-commit", "backend", _after_commit),
        CrashPoint("after-claim", "backend", _after_claim),
        CrashPoint("after-delivery", "backend", _after_delivery),
        CrashPoint("after-spool-commit", "gateway-0", _after_spool_commit),
        CrashPoint("after-drain-send", "gateway-0", _after_drain_send),
        CrashPoint("before-settle-commit", "gateway-0", _before_settle_commit),
    )
}
