"""What one gateway process knows, apart from the rest of it, and the snapshot it leaves."""

import asyncio
from pathlib import Path

from contracts.forms import TurnstileConfig, TurnstileOnOutage
from contracts.keys import KeyKind, mint_key
from gateway.config.feed import Feed
from gateway.config.forms import FormCache
from gateway.config.keys import KeyCache
from gateway.config.snapshot import SnapshotFile
from gateway.config.snapshot_keeper import SnapshotKeeper
from gateway.upstream import Upstream
from tests.support.builders import form_config, key_grant
from tests.support.clock import ManualClock
from tests.support.mini_backend import TOKEN, MiniBackend

SECRET = "0x4AAAAAAA-a-canary-of-a-secret"
KEY = mint_key(KeyKind.SUBMISSION)
BEARER = f"Bearer {KEY.text}".encode()
FORM = form_config(turnstile=TurnstileConfig(SECRET, TurnstileOnOutage.HOLD, True))


class Process:
    """The caches, the feed and the snapshot of a process, in front of a backend."""

    def __init__(
        self, backend: MiniBackend, clock: ManualClock, path: Path, token: str = TOKEN
    ) -> None:
        self._backend = backend
        upstream = Upstream("http://backend", TOKEN, backend.transport())
        self.forms = FormCache(upstream, clock)
        self.keys = KeyCache(upstream, clock, token)
        self.feed = Feed(upstream, [self.forms, self.keys], clock)
        file = SnapshotFile(path, token)
        self.keeper = SnapshotKeeper(file, self.forms, self.keys, self.feed, clock)

    async def hear(self) -> None:
        """Follows the feed until its first answer."""
        task = asyncio.create_task(self.feed.follow())
        async with asyncio.timeout(5):
            while not self.feed.was_heard:
                self._backend.beat()
                await asyncio.sleep(0)
        task.cancel()

    async def learn(self) -> None:
        """Uses the form and the key."""
        assert await self.forms.resolve("contact") == FORM
        assert await self.keys.authenticate(BEARER, FORM, "192.0.2.7") is not None


def backend_with_form_and_key() -> MiniBackend:
    """One that knows what a process is to learn."""
    return MiniBackend(forms={"contact": FORM}, keys={KEY.text: key_grant(key_id=KEY.key_id)})


async def leave_snapshot(backend: MiniBackend, clock: ManualClock, path: Path) -> None:
    """Lets a process learn the form and the key, and end."""
    process = Process(backend, clock, path)
    await process.hear()
    await process.learn()
    await process.keeper.save()
