"""What a gateway tells Prometheus at ``/metrics``: read from the parts when it is asked for.

No label holds a slug, an address or a key: what visitors choose must not make new series.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from contracts.outcomes import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class CountsDecisions(Protocol):
    """A rate limiter, as far as it is measured."""

    decisions_by_source: dict[str, int]


def exposition(outcomes: Mapping[Outcome, int], limiter: CountsDecisions) -> bytes:
    """The metrics in Prometheus's text format."""
    # Imported when it is first asked for: a gateway that nobody scrapes starts without it.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import CounterMetricFamily, Metric

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
            return [posts, decisions]

    registry = CollectorRegistry()
    registry.register(Parts())
    return generate_latest(registry)
