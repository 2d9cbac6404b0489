"""Measures a run: drives it, counts what is stored, and divides what the processes used."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import httpx

from loadtests.durability import send
from loadtests.load import Load
from loadtests.processes import cpu_seconds, peak_mb, resident_mb
from loadtests.targets import Target
from loadtests.work import Work

Figures = dict[str, float]
Driver = Callable[[Target, Work, int, float], Load]

PATIENCE_SECONDS = 15.0
_STILL_SECONDS = 0.1


class RunFailed(RuntimeError):
    """The run says nothing about speed; the message says why."""


@dataclass(frozen=True)
class Spent:
    """CPU seconds by role."""

    seconds: dict[str, float]

    @classmethod
    def so_far(cls, target: Target) -> "Spent":
        """What the target's processes have used until now."""
        return cls({role: cpu_seconds(pids) for role, pids in target.processes.items()})

    def since(self, before: "Spent", posts: int) -> Figures:
        """Microseconds a post by role, and over all of them."""
        each = {
            f"{role}_us": (used - before.seconds[role]) / posts * 1e6
            for role, used in self.seconds.items()
        }
        return each | {"total_us": sum(each.values())}


def check_answer(target: Target, work: Work) -> None:
    """Sends one post. Raises RunFailed if its status is not what the work expects."""
    with httpx.Client(timeout=10.0) as client:
        status = send(client, target, work, 0)
        # Only the first post of a visitor who may post once a minute is taken.
        if work.is_refused and status < 400:
            status = send(client, target, work, 0)
    if status != work.expects:
        raise RunFailed(f"{target.name} answers {status}, not {work.expects}")


def measure(
    target: Target,
    work: Work,
    drive: Callable[[], Load],
    patience_seconds: float = PATIENCE_SECONDS,
) -> tuple[Load, Figures]:
    """Drives some work and checks that the rows stored are the posts acknowledged; waits so long
    for the next of rows that are missing.

    Raises:
        RunFailed: they are not, or the answers are not all of the kind that the work expects.
    """
    stored, before = rows_of(target), Spent.so_far(target)
    load = drive()
    after = Spent.so_far(target)
    check_kind(load, work)
    check_rows(load, work, target, stored, patience_seconds)
    figures = {
        "posts_per_second": load.in_time / load.seconds,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        **after.since(before, load.answered),
        "generator_us": load.cpu_seconds / load.answered * 1e6,
        **_memory(target),
        "acknowledged": load.accepted,
    }
    return load, figures


def _memory(target: Target) -> Figures:
    held = {f"{role}_mb": resident_mb(pids) for role, pids in target.processes.items()}
    return held | {f"{role}_peak_mb": peak_mb(pids) for role, pids in target.processes.items()}


def rows_of(target: Target) -> int:
    """The rows stored so far; 0 for a target that stores nothing."""
    return target.store.stored() if target.store is not None else 0


def check_kind(load: Load, work: Work) -> None:
    """Raises RunFailed unless every post was answered as the work expects."""
    wrong = load.accepted if work.is_refused else load.refused
    if wrong or load.broken or not load.answered:
        raise RunFailed(
            f"{load.accepted} accepted, {load.refused} refused, {load.broken} broken, "
            f"where {work.expects} was expected throughout {load.statuses or ''}"
        )


def check_rows(
    load: Load,
    work: Work,
    target: Target,
    stored_before: int,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Raises RunFailed unless each acknowledged post, and no other, is a row."""
    if target.store is None:
        return
    wanted = load.accepted if work.stores else 0
    rows = settled_rows(target, stored_before + wanted, patience_seconds) - stored_before
    beyond = load.may_be_stored if work.stores and not work.is_refused else 0
    if not wanted <= rows <= wanted + beyond:
        raise RunFailed(f"{target.name}: {wanted} posts acknowledged, {rows} rows stored")


def settled_rows(target: Target, at_least: int, patience_seconds: float = PATIENCE_SECONDS) -> int:
    """The rows once there are so many and no more come: what was under way at the end, or spooled,
    is still being stored. Without patience left for another one, however many there are."""
    rows, still_since = rows_of(target), monotonic()
    while True:
        time.sleep(_STILL_SECONDS)
        before, rows = rows, rows_of(target)
        if rows != before:
            still_since = monotonic()
        elif rows >= at_least or monotonic() - still_since > patience_seconds:
            return rows
