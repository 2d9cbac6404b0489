"""The long set: processes that die, disks that fail, files and clocks that are wrong."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults import backups, clocks, cycles, damage, disk, locked, powercut
from tests.faults.figure import MIB, Figure, Size, need
from tests.faults.paced import percentile
from tests.faults.postgres import PostgresqlServer, postgresql_server

# Injections that a fleet goes through before its ledger is held against the database.
_A_FLEET = 25


async def ledger_cycles(
    directory: Path, size: Size, server: PostgresqlServer | None = None
) -> Figure:
    """F1: kill -9, SIGTERM and pauses of any process, and crashes of the server if there is one."""
    count = size.times(500, 25) if server is None else size.times(200, 10)
    targets = cycles.PROCESSES if server is None else (*cycles.PROCESSES, cycles.POSTGRESQL)
    plan = cycles.Plan(count, size.seed, size.long(30.0, 6.0), targets=targets, server=server)
    outcome = await cycles.run_cycles(directory, plan)
    ready = round(percentile(outcome.ready_seconds, 0.99), 2)
    verdict = outcome.verdict
    return Figure(
        "F1",
        "kill -9, SIGTERM and pauses, SQLite"
        if server is None
        else "kill -9, SIGTERM and pauses, and crashes of PostgreSQL",
        "0 lost, 0 doubled, 0 over quota, no 500; exits 0; ready again p99 < 2 s",
        {
            "lost": len(verdict.lost),
            "doubled": len(verdict.doubled),
            "over quota": len(verdict.over_quota),
            "acknowledged": verdict.acknowledged,
            "wrong ends, 500s": len(outcome.complaints),
            "ready again p99, s": ready,
        },
        outcome.is_clean,
        f"{count} cycles, pauses ≤ {plan.pause_seconds_max} s",
        [] if outcome.is_clean else [str(verdict), *outcome.complaints],
        is_fast=ready < 2.0,
    )


async def postgresql_cycles(directory: Path, size: Size) -> Figure:
    """F1 on PostgreSQL."""
    with postgresql_server(directory / "postgresql") as server:
        return await ledger_cycles(directory / "fleet", size, server)


async def power_cuts(directory: Path, size: Size) -> Figure:
    """F2: the power goes, plain and torn."""
    need(powercut.why_not())
    count = size.times(200, 10)
    outcome = await powercut.run_cuts(directory, powercut.Plan(count, size.seed))
    verdict = outcome.verdict
    return Figure(
        "F2",
        "power cuts under load, database and spool",
        "0 lost, 0 corrupt",
        {
            "lost": len(verdict.lost),
            "corrupt": len(outcome.corrupt),
            "acknowledged": verdict.acknowledged,
            "of them queued": verdict.queued,
        },
        verdict.is_clean and not outcome.corrupt,
        f"{count} cuts",
        [] if verdict.is_clean else [str(verdict)],
    )


def injections(service: disk.Service, last: int) -> Iterator[Sequence[disk.Injection]]:
    """Every call up to the last, failing for good, and a disk that is full for some calls: as many
    as one fleet can bear, and no further in a kind of call than the service makes any."""
    numbers = range(1, last + 1)
    for call in ("fdatasync", "fsync"):
        yield [disk.Injection(service, call, "EIO", str(number)) for number in numbers]
    full = [f"{number}..{number + 20}" for number in numbers]
    yield [disk.Injection(service, "pwrite64", "ENOSPC", when) for when in full]


async def _series_of(directory: Path, service: disk.Service, last: int) -> list[disk.Series]:
    found = []
    for kind, whole in enumerate(injections(service, last)):
        for start in range(0, last, _A_FLEET):
            part = whole[start : start + _A_FLEET]
            found.append(await disk.run_series(directory / f"{service}-{kind}-{start}", part))
            if len(found[-1].outcomes) < len(part):
                break
    return found


async def disk_errors(directory: Path, size: Size) -> Figure:
    """F3: a system call fails."""
    need(disk.why_no_injection())
    last = size.times(200, 20)
    both = [_series_of(directory, service, last) for service in disk.SERVICES]
    series = [each for found in await asyncio.gather(*both) for each in found]
    outcomes = [outcome for each in series for outcome in each.outcomes]
    wrong = [complaint for each in series for complaint in each.complaints()]
    return Figure(
        "F3",
        "fsync fails (EIO), writes fail (ENOSPC), at call n",
        "0 acknowledged then lost, 0 hangs, ends non-zero after EIO",
        {
            "lost": sum(len(each.verdict.lost) for each in series),
            "wrong": len(wrong),
            "hit": sum(outcome.hit is not None for outcome in outcomes),
            "not made": sum(outcome.hit is None for outcome in outcomes),
            "acknowledged": sum(each.verdict.acknowledged for each in series),
            "slowest answer, s": round(max(outcome.slowest for outcome in outcomes), 2),
        },
        not wrong,
        f"n ≤ {last}",
        wrong,
    )


async def full_disk(directory: Path, size: Size) -> Figure:
    """R7: no space left, and space again."""
    need(disk.why_no_small_disk())
    found = await disk.run_full_disk(directory, size.long(5.0, 2.0))
    is_met = found.verdict.is_clean and found.read_status == 200 and not found.full[500]
    return Figure(
        "R7",
        "the backend's disk is full",
        "no 500, reads work, recovers",
        {"full": dict(found.full), "after": dict(found.after), "read": found.read_status},
        is_met and set(found.after) == {200},
        f"{size.long(5.0, 2.0)} s",
    )


async def locked_database(directory: Path, size: Size) -> Figure:
    """R8: somebody holds the write lock, and somebody an old state."""
    seconds = size.long(60.0, 5.0)
    found = await locked.run_locked(directory / "writer", seconds)
    logs = await locked.run_reader(directory / "reader", min(seconds, 10.0))
    is_clean = found.verdict.is_clean and logs.verdict.is_clean
    is_answered = found.slowest < disk.ANSWER_SECONDS and not found.meanwhile[500]
    is_bounded = logs.after <= logs.held + 8 * MIB and not logs.others
    return Figure(
        "R8",
        "another process holds the database",
        "bounded answers, no 500, recovers; log bounded after the reader",
        {
            "meanwhile": dict(found.meanwhile),
            "after": dict(found.after),
            "slowest answer, s": round(found.slowest, 2),
            "log, MiB": [round(logs.held / MIB, 1), round(logs.after / MIB, 1)],
        },
        is_clean and is_answered and is_bounded,
        f"{seconds} s",
    )


async def damaged_files(directory: Path, size: Size) -> Figure:
    """R9: the database file is not what it was."""
    trials = await damage.run_damage(directory, size.times(100, 14), size.seed)
    verdicts = [trial.verdict for trial in trials]
    wrong = [trial for trial in trials if trial.verdict in damage.WRONG]
    return Figure(
        "R9",
        "damaged database files",
        "refused in one line, or works; no stack trace, no silent loss",
        {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
        not wrong,
        f"{len(trials)} files",
        [f"{trial.kind} {trial.seed}: {trial.verdict}: {trial.detail[-300:]}" for trial in wrong],
    )


async def clock_jumps(directory: Path, size: Size) -> Figure:
    """R10: the wall clock jumps."""
    need(None if clocks.library() else "faketime is not installed (Debian: faketime)")
    found = await clocks.run_jumps(directory, size.long(5.0, 1.0))
    is_one_month = list(found.months.values()) == [found.charged]
    is_met = not found.lost and found.recognised == clocks.RECOGNISED and is_one_month
    return Figure(
        "R10",
        "the wall clock jumps by an hour and a day",
        "no post refused or lost; keys recognised for 24 h; one month; limits as they were",
        {
            "statuses": dict(found.statuses),
            "recognised": found.recognised,
            "reopened": found.reopened,
            "months": found.months,
        },
        is_met and set(found.statuses) == {200} and not found.reopened,
        f"{size.long(5.0, 1.0)} s between",
    )


async def restored_backups(directory: Path, size: Size) -> Figure:
    """F17: backups under load, each restored."""
    count = size.times(20, 1)
    outcome = await backups.run_backups(directory, count)
    return Figure(
        "F17",
        "backups under load and kill -9, restored",
        "integrity ok, counters = rows, nothing acknowledged before it lost",
        {"whole": f"{outcome.restored} of {count}", "submissions": outcome.submissions},
        outcome.restored == count and not outcome.wrong,
        f"{count} backups",
        outcome.wrong,
    )
