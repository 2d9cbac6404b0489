"""Keeps the snapshot of what a gateway knows: reads it at the start, writes it now and then.

Written when something has changed, seconds after the last time at the earliest, and every few
minutes in any case: the file's age is that of the last word from the backend. A snapshot that
cannot be read or written is said in one log line and stops nothing else.
"""

import asyncio

from contracts.runtime.clock import Clock
from contracts.runtime.telemetry import get_logger
from gateway.config.feed import Feed
from gateway.config.forms import FormCache
from gateway.config.keys import KeyCache
from gateway.config.snapshot import Snapshot, SnapshotFile, SnapshotUnusable

_PAUSE_SECONDS = 5.0
# A large snapshot takes its time: at most a twentieth of the gateway's goes into it.
_PAUSE_SHARE = 20
_UNCHANGED_SECONDS = 600.0
_TICK_SECONDS = 1.0


class SnapshotKeeper:
    """``was_loaded`` says that this process started with what an earlier one knew."""

    def __init__(
        self, file: SnapshotFile, forms: FormCache, keys: KeyCache, feed: Feed, clock: Clock
    ) -> None:
        self._file = file
        self._forms = forms
        self._keys = keys
        self._feed = feed
        self._clock = clock
        self._written = (0, 0)
        self._next_at = clock.monotonic() + _PAUSE_SECONDS
        self._unchanged_at = clock.monotonic() + _UNCHANGED_SECONDS
        self._is_failing = False
        self._log = get_logger("gateway")
        self.was_loaded = False

    async def load(self) -> None:
        """Takes over the snapshot, if there is one to be used; called before anything is served."""
        try:
            # Nobody asks the caches yet: all of it may happen in the thread.
            self.was_loaded = await asyncio.to_thread(self._load)
        except SnapshotUnusable as error:
            self._log.warning("snapshot not used, starting empty", reason=str(error))
        self._written = self._versions()

    async def keep(self) -> None:
        """Writes when it is due, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            if self.is_due:
                await self.save()

    @property
    def is_due(self) -> bool:
        """Whether there is something to write, and it is time."""
        now = self._clock.monotonic()
        is_changed = self._versions() != self._written
        return now >= self._next_at and (is_changed or now >= self._unchanged_at)

    async def save(self) -> None:
        """Writes now, unless the backend was never heard and nothing was loaded."""
        if not self._feed.was_heard and not self.was_loaded:
            return
        versions, snapshot = self._versions(), self._snapshot()
        started = self._clock.monotonic()
        try:
            await asyncio.to_thread(self._file.write, snapshot)
        except OSError as error:
            if not self._is_failing:
                self._log.error("snapshot cannot be written", error=str(error))
            self._is_failing = True
        else:
            self._is_failing = False
            self._written = versions
        now = self._clock.monotonic()
        self._next_at = now + max(_PAUSE_SECONDS, _PAUSE_SHARE * (now - started))
        self._unchanged_at = now + _UNCHANGED_SECONDS

    def _load(self) -> bool:
        snapshot = self._file.read()
        if snapshot is None:
            return False
        self._forms.restore(snapshot.epoch, snapshot.revision, snapshot.forms)
        self._keys.restore(snapshot.epoch, snapshot.revision, snapshot.grants)
        self._feed.resume(snapshot.epoch, snapshot.revision)
        self._log.info("snapshot loaded", forms=len(self._forms), keys=len(self._keys))
        return len(self._forms) > 0

    def _versions(self) -> tuple[int, int]:
        return self._forms.version, self._keys.version

    def _snapshot(self) -> Snapshot:
        # Both at one moment of the loop. What is costly happens in the thread that writes.
        moment, forms = self._forms.holdings()
        key_moment, grants = self._keys.holdings()
        return Snapshot(
            moment.epoch,
            moment.revision,
            map(moment.save, forms),
            ((digest, key_moment.save(held)) for digest, held in grants),
        )
