"""What a gateway tells Prometheus at ``/metrics``: read from the parts when it is asked for.

No label holds a slug, an address or a key: what visitors choose must not make new series.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from contracts.outcomes import Outcome
from contracts.runtime.telemetry import log_lines_dropped

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Levels:
    """Where a gateway stands. ``feed_silent_seconds`` is None before the feed's first answer."""

    is_backend_away: bool
    feed_silent_seconds: float | None
    forms: int
    form_hits: int
    form_misses: int
    keys: int
    absent_forms: int
    refused_keys: int
    idempotency_keys: int
    rate_limit_windows: int
    spool_submissions: int
    spool_bytes: int
    spool_rejected: int
    spool_rejected_bytes: int
    spool_left_behind: int
    spool_oldest_seconds: float
    lease_units_unspent: int
    lease_units_spooled: int


class CountsDecisions(Protocol):
    """A rate limiter, as far as it is measured."""

    decisions_by_source: dict[str, int]


_HELP = {
    "is_backend_away": ("backend_away", "1 while submissions are spooled, not forwarded."),
    "feed_silent_seconds": ("feed_silent_seconds", "Since the change feed was heard."),
    "forms": ("cached_forms", "Forms held in memory."),
    "keys": ("cached_keys", "Grants of keys held in memory."),
    "absent_forms": ("cached_absent_forms", "Slugs held in memory for which there is no form."),
    "refused_keys": ("cached_refused_keys", "Keys held in memory that the backend refused."),
    "idempotency_keys": ("idempotency_keys", "Idempotency keys held: receipts, and under way."),
    "rate_limit_windows": ("rate_limit_windows", "Visitors and keys whose posts are counted."),
    "spool_submissions": ("spool_submissions", "Submissions that wait for the backend."),
    "spool_bytes": ("spool_bytes", "Their size, files included."),
    "spool_rejected": ("spool_rejected", "Spooled submissions that the backend refused."),
    "spool_rejected_bytes": (
        "spool_rejected_bytes",
        "Their size, files included; it counts towards FORMFLOW_SPOOL_MAX_MB.",
    ),
    "spool_left_behind": (
        "spool_left_behind_submissions",
        "Submissions that wait in spools of workers that there are no more.",
    ),
    "spool_oldest_seconds": ("spool_oldest_seconds", "Since the oldest that waits was received."),
    "lease_units_unspent": ("lease_units_unspent", "Units of quotas that may still be promised."),
    "lease_units_spooled": ("lease_units_spooled", "Units promised and not yet settled."),
}


def exposition(outcomes: Mapping[Outcome, int], limiter: CountsDecisions, levels: Levels) -> bytes:
    """The metrics in Prometheus's text format."""
    # Imported when it is first asked for: a gateway that nobody scrapes starts without it.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

    class Parts:
        def collect(self) -> Iterable[Metric]:
            posts = CounterMetricFamily(
                "formflow_posts", "Posts, by what became of them.", labels=["outcome"]
            )
            for outcome in Outcome:
                posts.add_metric([outcome.value], outcomes.get(outcome, 0))
            decisions = CounterMetricFamily(
                "formflow_rate_limit_decisions",
                "Rate limit decisions, by who decided: this process (local), Redis, this process "
                "because Redis was away (fallback), or a refusal known to last (cached).",
                labels=["source"],
            )
            for source, count in limiter.decisions_by_source.items():
                decisions.add_metric([source], count)
            lookups = CounterMetricFamily(
                "formflow_cache_lookups",
                "Look-ups of forms, by whether the form was in memory.",
                labels=["cache", "result"],
            )
            lookups.add_metric(["forms", "hit"], levels.form_hits)
            lookups.add_metric(["forms", "miss"], levels.form_misses)
            dropped = CounterMetricFamily(
                "formflow_log_lines_dropped",
                "Log lines that were not written: nobody read them, or their disk was full.",
                log_lines_dropped(),
            )
            gauges = [
                GaugeMetricFamily(f"formflow_{name}", text, float(value))
                for member, (name, text) in _HELP.items()
                if (value := getattr(levels, member)) is not None
            ]
            return [posts, decisions, lookups, dropped, *gauges]

    registry = CollectorRegistry()
    registry.register(Parts())
    return generate_latest(registry)
