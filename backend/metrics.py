"""What a backend tells Prometheus at ``/metrics``: read from the parts when it is asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contracts.submissions import ItemResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class CommitCounts:
    """Commits of batches since the start, their seconds, and their submissions by result."""

    batches: int = 0
    seconds: float = 0.0
    items: Counter[str] = field(default_factory=Counter)

    def add(self, results: Iterable[ItemResult], seconds: float) -> None:
        """Counts one commit."""
        self.batches += 1
        self.seconds += seconds
        self.items.update(result.status.value for result in results)


def exposition(commits: CommitCounts, durability: Mapping[str, str]) -> bytes:
    """The metrics in Prometheus's text format."""
    # Imported when it is first asked for: a backend that nobody scrapes starts without it.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        InfoMetricFamily,
        Metric,
        SummaryMetricFamily,
    )

    class Parts:
        def collect(self) -> Iterable[Metric]:
            items = CounterMetricFamily(
                "formflow_commit_items", "Submissions committed, by result.", labels=["result"]
            )
            for result, count in commits.items.items():
                items.add_metric([result], count)
            return [
                items,
                SummaryMetricFamily(
                    "formflow_commit_seconds",
                    "Commits of batches, from their arrival to their fsync.",
                    count_value=commits.batches,
                    sum_value=commits.seconds,
                ),
                InfoMetricFamily(
                    "formflow_database",
                    "What the connection that commits says of its durability.",
                    dict(durability),
                ),
            ]

    registry = CollectorRegistry()
    registry.register(Parts())
    return generate_latest(registry)
