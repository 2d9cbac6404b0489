"""The disk of a gateway is full while the backend is away, and again while that comes back."""

import asyncio
import re
import secrets
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.cycles import DRAIN_SECONDS
from tests.faults.disk import SmallDisk
from tests.faults.fleet import FaultyFleet, faulty_fleet, start_all
from tests.faults.ledger import Crowd, Ledger, stop
from tests.faults.verdict import Verdict, judge
from tests.faults.wire import Answer, Connection, read_answer
from tests.support.processes import until

# Room for the spool's reserve and for what staging leaves free, and some more.
_DISK_MIB = 128
_PIECE = bytes(1024**2)
_PIECES = 4
_WAIT_SECONDS = 40.0
_SPOOLED = re.compile(rb"^formflow_spool_submissions(?:\{[^}]*\})? (\d+)", re.MULTILINE)
_BOUNDARY = "a-boundary"
BROWSER_TEXT = "What I have written & would hate to lose"


@dataclass(slots=True)
class FullGateway:
    """What came of it: statuses of posts while the disk was full, and once it had space again with
    the backend still away; what a browser was shown, and the visitor whose file the disk filled up
    under; the files of theirs that were left; how many waited in the spool when the backend came
    back to a disk that was full, and whether all of them went."""

    verdict: Verdict
    full: Counter[int]
    after: Counter[int]
    browser: Answer
    upload: Answer
    staged: list[Path]
    spooled: int
    is_drained_while_full: bool


async def run_full_gateway(directory: Path, seconds: float) -> FullGateway:
    """The disk fills up under load for so long, has space again, and fills up again."""
    with faulty_fleet(directory, gateways=1) as fleet:
        command = [sys.executable, "-m", "formflow"]
        disk = SmallDisk(fleet, "gateway-0", _DISK_MIB, command)
        fleet.overrides["gateway-0"] = {"SPOOL_MIN_FREE_MB": "0"}
        await asyncio.to_thread(start_all, fleet)
        ledger = Ledger()
        visitors = Crowd(fleet.gateways, pause_seconds=0.1).start(ledger, "full")
        await _until_seen(ledger, 200)
        fleet.kill("backend")
        await _until_seen(ledger, 202)
        upload = Upload(fleet.gateways[0])
        await upload.begin()
        await asyncio.to_thread(until, lambda: _staged(disk) != [], _WAIT_SECONDS)
        with disk.filled():
            before = Counter(ledger.statuses)
            cut = await upload.end()
            await _until_seen(ledger, 503, before)
            browser = await _refused_as_browser(fleet)
            await asyncio.sleep(seconds)
            full = ledger.statuses - before
        staged = _staged(disk)
        before = Counter(ledger.statuses)
        await _until_seen(ledger, 202, before)
        after = ledger.statuses - before
        with disk.filled():
            spooled = _spooled(fleet)
            await asyncio.to_thread(fleet.start, "backend")
            is_drained = await _holds_in_time(lambda: _spooled(fleet) == 0, DRAIN_SECONDS)
        await stop(visitors)
        await asyncio.to_thread(until, lambda: _spooled(fleet) == 0, DRAIN_SECONDS)
        verdict = await judge(fleet, ledger)
        return FullGateway(verdict, full, after, browser, cut, staged, spooled, is_drained)


class Upload:
    """A visitor who sends the half of a file, and later the rest."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._address = host, int(port)

    async def begin(self) -> None:
        """Sends the first half."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
        length = len(head) + _PIECES * len(_PIECE) + len(self._tail)
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        self._writer.write(
            b"POST /v1/f/demo HTTP/1.1\r\nHost: formflow.test\r\n"
            + f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n".encode()
            + f"Content-Length: {length}\r\n\r\n".encode()
            + head
            + _PIECE * (_PIECES // 2)
        )
        await self._writer.drain()

    async def end(self) -> Answer:
        """Sends the rest; what the visitor is answered."""
        self._writer.write(_PIECE * (_PIECES // 2) + self._tail)
        try:
            return await asyncio.wait_for(read_answer(self._reader), _WAIT_SECONDS)
        finally:
            self._writer.close()


async def _refused_as_browser(fleet: FaultyFleet) -> Answer:
    """What a browser is shown that is refused: there may be room for a post or two yet."""
    deadline = asyncio.get_running_loop().time() + _WAIT_SECONDS
    while True:
        answer = await _post_as_browser(fleet)
        if answer.status != 202 or asyncio.get_running_loop().time() > deadline:
            return answer


async def _post_as_browser(fleet: FaultyFleet) -> Answer:
    connection = Connection(fleet.gateways[0])
    try:
        # One that is taken is not to look like another one that is.
        fields = {"message": BROWSER_TEXT, "n": secrets.token_hex(8)}
        return await connection.post("/v1/f/demo", fields, {"Accept": "text/html"})
    finally:
        connection.close()


async def _until_seen(ledger: Ledger, status: int, before: Counter[int] | None = None) -> None:
    known = (before or Counter())[status]
    assert await _holds_in_time(lambda: ledger.statuses[status] > known), ledger.statuses


async def _holds_in_time(condition: Callable[[], bool], seconds: float = _WAIT_SECONDS) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while loop.time() < deadline:
        if await asyncio.to_thread(condition):
            return True
        await asyncio.sleep(0.05)
    return False


def _spooled(fleet: FaultyFleet) -> int:
    """How many submissions wait: the file itself is on a disk that is not seen from here."""
    found = _SPOOLED.search(fleet.get("gateway-0", "/metrics")[1])
    return -1 if found is None else int(found[1])


def _staged(disk: SmallDisk) -> list[Path]:
    return [path for path in (disk.seen_from_outside / "staging").rglob("*") if path.is_file()]
