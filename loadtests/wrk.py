"""Closed-loop load from wrk, whose script is made of the same templates as our own posts."""

import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import orjson

from loadtests.cores import on_the_generators_core
from loadtests.load import Load
from loadtests.targets import Target
from loadtests.work import Requests, Slot, Template, Work

_SCRIPT = """\
local format, floor = string.format, math.floor
local plain, keyed = {plain}, {keyed}
local choices = {choices}
local n = 0

request = function()
  n = n + 1
  if n % {keyed_every} == 0 then return format(keyed{keyed_slots}) end
  return format(plain{plain_slots})
end

done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(format(
    'RESULT {{"answered":%d,"seconds":%.3f,"p50_ms":%.3f,"p99_ms":%.3f,'
    .. '"refused":%d,"broken":%d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


def is_here() -> bool:
    """Whether this machine has wrk."""
    return shutil.which("wrk") is not None


def drive(target: Target, work: Work, connections: int, seconds: float) -> Load:
    """Posts for whole seconds over so many connections, each as soon as it has its answer.

    Raises:
        RuntimeError: wrk ended badly; the message holds what it printed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua", encoding="latin-1") as script:
        script.write(_script(work.requests(target)))
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout=10s"]
        output, cpu_seconds = _run([*command, "-s", script.name, target.origin])
    return _load(output, cpu_seconds, connections)


def _script(requests: Requests) -> str:
    slots = [*requests.plain.slots, *requests.keyed.slots]
    lists = list(dict.fromkeys(slot.choices for slot in slots if slot.choices))
    return _SCRIPT.format(
        plain=_quoted(requests.plain.text),
        keyed=_quoted(requests.keyed.text),
        choices=_table(_table(map(_quoted, choices)) for choices in lists),
        plain_slots=_slots(requests.plain, lists),
        keyed_slots=_slots(requests.keyed, lists),
        keyed_every=requests.keyed_every,
    )


def _table(items: Iterable[str]) -> str:
    return "{" + ", ".join(items) + "}"


def _quoted(text: bytes) -> str:
    """A Lua string, by the decimal escapes that Lua reads in any version."""
    safe = set(range(0x20, 0x7F)) - set(b'"\\')
    return '"' + "".join(chr(byte) if byte in safe else f"\\{byte:03}" for byte in text) + '"'


def _slots(template: Template, lists: Sequence[tuple[bytes, ...]]) -> str:
    return "".join(f", {_value(slot, lists)}" for slot in template.slots)


def _value(slot: Slot, lists: Sequence[tuple[bytes, ...]]) -> str:
    number = f"floor(n / {slot.divisor}) % {slot.modulus}"
    # Lua counts from 1.
    return f"choices[{lists.index(slot.choices) + 1}][{number} + 1]" if slot.choices else number


def _run(command: list[str]) -> tuple[bytes, float]:
    """What a command prints, and the CPU seconds that it used."""
    with on_the_generators_core():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if process.stdout is None:
        raise RuntimeError("a process without its output")
    with process.stdout as stdout:
        output = stdout.read()
    # Not Popen.wait: it drops what the process used.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or b"RESULT " not in output:
        raise RuntimeError(f"{Path(command[0]).name}: {output.decode(errors='replace').strip()}")
    return output, usage.ru_utime + usage.ru_stime


def _load(output: bytes, cpu_seconds: float, connections: int) -> Load:
    told = orjson.loads(output.partition(b"RESULT ")[2].splitlines()[0])
    accepted = told["answered"] - told["refused"]
    return Load(
        seconds=told["seconds"],
        accepted=accepted,
        refused=told["refused"],
        in_time=told["answered"],
        accepted_in_time=accepted,
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        cpu_seconds=cpu_seconds,
        broken=told["broken"],
        # wrk drops what is under way at its end.
        may_be_stored=connections,
    )
