"""Variants of ``tests.faults.spoilt`` that spoil what processes agree on, and what is bounded."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import backend.internal.idempotency
import backend.internal.posting_keys
import contracts.runtime.ratelimit
import contracts.runtime.serving
import contracts.runtime.windows
import gateway.batch_size
import gateway.bounded
import gateway.config.keys
import gateway.idempotency
import gateway.outage
import gateway.pace
from contracts.forms import FormConfig
from contracts.internal import ChangesAnswer
from contracts.runtime.clock import SystemClock

_ROWS_AT_ONCE = 500


class _WallClock(SystemClock):
    def monotonic(self) -> float:
        return self.now_ms() / 1000


def window_by_wall_clock() -> None:
    """A gateway whose rate limits go by the wall clock."""
    limiter: Any = contracts.runtime.ratelimit.LocalRateLimiter
    start_right = limiter.__init__

    def start(self: Any, _: Any, *rest: Any) -> None:
        start_right(self, _WallClock(), *rest)

    limiter.__init__ = start


def drain_at_once() -> None:
    """A gateway that sends all it has spooled as soon as it can."""
    pace: Any = gateway.pace.Pace
    pace.rows = property(lambda _: _ROWS_AT_ONCE)
    pace.rest_after = lambda *_: 0.0


def probe_with_all() -> None:
    """A gateway that sends every post to the backend first, however many have failed."""
    outage: Any = gateway.outage.Outage
    outage.begin = lambda *_: None


def full_batches() -> None:
    """A gateway whose batches stay as large, however many of them end too late."""
    size: Any = gateway.batch_size.BatchSize
    size.note_failure = lambda *_: None


def bind_no_key() -> None:
    """A backend that leaves idempotency keys to the gateways."""
    module: Any = backend.internal.idempotency
    module.bind = lambda *_: None


def trust_gateway_keys() -> None:
    """A backend that leaves API keys to the gateways."""
    posting_key: Any = backend.internal.posting_keys.PostingKey
    posting_key.may_post_to = lambda *_: True


def deaf_to_keys() -> None:
    """A gateway that does not hear of keys that end."""
    cache: Any = gateway.config.keys.KeyCache
    apply_right = cache.apply

    def apply(self: Any, changes: ChangesAnswer) -> None:
        apply_right(self, replace(changes, keys=()))

    cache.apply = apply


def unbounded_tables() -> None:
    """A gateway that remembers every visitor, every slug and every idempotency key."""
    bounded = gateway.bounded
    for table in (contracts.runtime.windows.SlidingWindows, bounded.RecentlyUsed, bounded.Denials):
        _lift_bound(table)
    module: Any = gateway.idempotency
    claim_right = module.Idempotency.claim

    @asynccontextmanager
    async def claim(
        self: Any, form: FormConfig, key: str | None, *rest: Any, **named: Any
    ) -> AsyncIterator[Any]:
        async with claim_right(self, form, key, *rest, **named) as claimed:
            self._known[form.id, key] = module._Known(None, "", 0.0)
            yield claimed

    module.Idempotency.claim = claim


def _lift_bound(table: Any) -> None:
    start_right = table.__init__

    def start(self: Any, *rest: Any) -> None:
        start_right(self, *rest[:-1], sys.maxsize)

    table.__init__ = start


def close_at_once() -> None:
    """A process that stops listening the moment it is told to end."""
    server: Any = contracts.runtime.serving.DrainingServer
    start_right = server.__init__

    def start(self: Any, config: Any, on_drain: Any, _: float, *rest: Any) -> None:
        start_right(self, config, on_drain, 0.0, *rest)

    server.__init__ = start
