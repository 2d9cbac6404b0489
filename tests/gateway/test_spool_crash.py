"""Crashes of the spool: nothing acknowledged is lost, nothing is doubled, the levels are exact."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.submissions import Submission
from gateway.spool.contents import read
from gateway.spool.rows import new_row
from gateway.spool.spool import AlreadySpooled, Spool, SpoolFull
from gateway.spool.summary import inspect
from tests.gateway.test_spool import MIB, open_spool, with_files
from tests.support.builders import submission
from tests.support.clock import ManualClock

_BYTES_MAX = 8_000


@dataclass(frozen=True)
class Kept:
    """What the model knows of a submission that was acknowledged."""

    submission: Submission
    lease_id: str | None
    contents: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return new_row(self.submission, None).size


class SpoolMachine(RuleBasedStateMachine):
    """The spool beside a list. A crash leaves what a kill -9 leaves: the files as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp(prefix="formflow-spool-"))
        self.crashes = 0
        self.clock = ManualClock()
        self.waiting: list[Kept] = []
        self.rejected: list[Kept] = []

    @initialize()
    def start(self) -> None:
        self.spool: Spool = self.run(self.open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @property
    def directory(self) -> Path:
        return self.root / str(self.crashes)

    async def open(self) -> Spool:
        return await open_spool(self.directory, bytes_max=_BYTES_MAX, clock=self.clock)

    @property
    def size(self) -> int:
        return sum(kept.size for kept in self.waiting + self.rejected)

    def expect(self, kept: Kept, result: AlreadySpooled | BaseException | None) -> None:
        """Compares with the model and brings it up to date."""
        key = kept.submission.idempotency_key
        earlier = [
            other.submission
            for other in self.waiting
            if key and key == other.submission.idempotency_key
        ]
        if self.size + kept.size > _BYTES_MAX:
            assert isinstance(result, SpoolFull)
        elif earlier:
            [first] = earlier
            assert result == AlreadySpooled(first.id, first.received_at, first.fingerprint)
        else:
            assert result is None
            self.waiting.append(kept)

    posts = st.builds(
        lambda size, key, lease: Kept(
            submission(
                payload="x" * size,
                idempotency_key=key,
                fingerprint=str(size) if key else None,
                received_at=1_780_000_000_000 + size,
            ),
            lease,
            (),
        ),
        st.integers(0, 600),
        st.sampled_from([None, None, "k1", "k2"]),
        st.sampled_from([None, "lea_1"]),
    )

    @rule(posts=st.lists(posts, min_size=1, max_size=8))
    def put(self, posts: list[Kept]) -> None:
        async def put_all() -> list[AlreadySpooled | BaseException | None]:
            return await asyncio.gather(
                *(self.spool.put(kept.submission, kept.lease_id) for kept in posts),
                return_exceptions=True,
            )

        for kept, result in zip(posts, self.run(put_all()), strict=True):
            self.expect(kept, result)

    @rule(contents=st.lists(st.binary(max_size=500), min_size=1, max_size=3))
    def put_files(self, contents: list[bytes]) -> None:
        staged = self.root / "staged"
        staged.write_bytes(contents[0])
        kept = Kept(with_files(*contents), None, tuple(contents))

        async def put() -> AlreadySpooled | BaseException | None:
            try:
                return await self.spool.put(kept.submission, None, [staged, *contents[1:]])
            except SpoolFull as error:
                return error

        self.expect(kept, self.run(put()))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        indexes = data.draw(st.sets(st.integers(0, len(self.waiting) - 1)))
        found = self.run(self.spool.oldest(1_000, MIB))
        self.run(self.spool.settle([found[index].sequence for index in indexes]))
        self.waiting = [kept for at, kept in enumerate(self.waiting) if at not in indexes]

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.waiting) - 1))
        found = self.run(self.spool.oldest(1_000, MIB))
        self.run(self.spool.reject(found[index].sequence, "form-not-found", "Gone."))
        self.rejected.append(self.waiting.pop(index))

    @rule()
    def restart(self) -> None:
        self.run(self.spool.close())
        self.spool = self.run(self.open())

    @rule(torn=st.binary(max_size=5_000), orphan=st.booleans())
    def crash(self, torn: bytes, orphan: bool) -> None:
        """What a write under way has left may stand at the log's end, a file without its row."""
        old = self.directory
        self.crashes += 1
        shutil.copytree(old, self.directory, ignore=shutil.ignore_patterns("spool.reserve"))
        self.run(self.spool.close())
        shutil.rmtree(old)
        log = self.directory / "spool.db-wal"
        if log.stat().st_size:
            log.write_bytes(log.read_bytes() + torn)
        if orphan:
            (self.directory / "files" / "sub_orphan").mkdir(parents=True)
        self.spool = self.run(self.open())

    @invariant()
    def everything_acknowledged_is_there_once(self) -> None:
        found = self.run(self.spool.oldest(1_000, MIB))
        assert [
            Kept(
                spooled.submission,
                spooled.lease_id,
                tuple(file.path.read_bytes() for file in spooled.files),
            )
            for spooled in found
        ] == self.waiting
        rows = list(read(self.directory, "rejected"))
        assert {row.submission.id for row in rows if row is not None and row.submission} == {
            kept.submission.id for kept in self.rejected
        }

    @invariant()
    def levels_are_exact(self) -> None:
        size = sum(kept.size for kept in self.waiting)
        assert (self.spool.count, self.spool.bytes) == (len(self.waiting), size)
        assert self.spool.rejected_count == len(self.rejected)
        summary = inspect(self.directory)
        assert (summary.count, summary.bytes) == (len(self.waiting), size)
        assert summary.rejected_count == len(self.rejected)
        assert summary.set_aside == self.spool.set_aside == ()

    @invariant()
    def files_are_those_of_the_submissions(self) -> None:
        files = self.directory / "files"
        named = {
            kept.submission.id for kept in self.waiting + self.rejected if kept.submission.files
        }
        assert {path.name for path in files.glob("*")} == named

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.run(self.spool.close())
        self.runner.close()
        shutil.rmtree(self.root)


SpoolMachine.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestSpoolMachine = SpoolMachine.TestCase
