"""What processes cost: CPU time and resident memory, from /proc."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

Processes = Mapping[str, tuple[int, ...]]
"""The ids of a target's processes, by role."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE_SECONDS = 0.05


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """The CPU time that the processes have used so far, user and system."""
    return sum(_cpu_seconds(pid) for pid in pids)


def resident_mb(pids: tuple[int, ...]) -> float:
    """The memory that the processes hold now (VmRSS), in millions of bytes."""
    return sum(_memory_mb(pid, "VmRSS:") for pid in pids)


def peak_mb(pids: tuple[int, ...]) -> float:
    """The most memory that each process has held so far (VmHWM), in millions of bytes."""
    return sum(_memory_mb(pid, "VmHWM:") for pid in pids)


class Peaks:
    """The most memory that each role held since ``watched`` began, and what it held before."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self.before_mb = self._now()
        self.peak_mb = dict(self.before_mb)

    @property
    def growth_mb(self) -> dict[str, float]:
        """How much more it was at most."""
        return {role: peak - self.before_mb[role] for role, peak in self.peak_mb.items()}

    def look(self) -> None:
        """Takes one sample."""
        for role, held in self._now().items():
            self.peak_mb[role] = max(self.peak_mb[role], held)

    def _now(self) -> dict[str, float]:
        return {role: resident_mb(pids) for role, pids in self._processes.items()}


@contextmanager
def watched(processes: Processes) -> Iterator[Peaks]:
    """Samples the processes' memory while the block runs."""
    peaks = Peaks(processes)
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.wait(_SAMPLE_SECONDS):
            peaks.look()

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def _cpu_seconds(pid: int) -> float:
    # man 5 proc: fields 14 and 15, counted behind the name, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mb(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(name)[2].split()[0]) * 1024 / 1e6
