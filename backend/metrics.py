"""What a backend tells Prometheus at ``/metrics``: read from the parts when it is asked for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from backend.delivery.recorder import DeliveryCounts
from backend.delivery.store import Backlog
from contracts.runtime.telemetry import log_lines_dropped
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


def exposition(
    commits: CommitCounts,
    deliveries: DeliveryCounts,
    backlog: Backlog,
    durability: Mapping[str, str],
    log_bytes: int | None,
) -> bytes:
    """The metrics in Prometheus's text format; ``log_bytes`` is None on PostgreSQL."""
    # Imported when it is first asked for: a backend that nobody scrapes starts without it.
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
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
            attempts = CounterMetricFamily(
                "formflow_delivery_attempts",
                "Attempts of deliveries, by kind and what they came to.",
                labels=["kind", "verdict"],
            )
            for labels, count in deliveries.attempts.items():
                attempts.add_metric(labels, count)
            log = GaugeMetricFamily(
                "formflow_sqlite_log_bytes",
                "Bytes of SQLite's write-ahead log, which grows while it cannot be copied.",
            )
            if log_bytes is not None:
                log.add_metric([], log_bytes)
            return [
                items,
                attempts,
                log,
                GaugeMetricFamily(
                    "formflow_outbox_rows",
                    "Rows of the outbox: events of which no deliveries are made yet.",
                    backlog.waiting,
                ),
                GaugeMetricFamily(
                    "formflow_outbox_set_aside",
                    "Rows of the outbox that no deliveries could be made of.",
                    backlog.set_aside,
                ),
                GaugeMetricFamily(
                    "formflow_deliveries_pending",
                    "Deliveries that have not ended.",
                    backlog.pending,
                ),
                GaugeMetricFamily(
                    "formflow_delivery_lag_seconds",
                    "How late the delivery was that has been due the longest, when last looked.",
                    deliveries.lag_seconds,
                ),
                SummaryMetricFamily(
                    "formflow_commit_seconds",
                    "Commits of batches, from their arrival to their fsync.",
                    count_value=commits.batches,
                    sum_value=commits.seconds,
                ),
                CounterMetricFamily(
                    "formflow_log_lines_dropped",
                    "Log lines that were not written: nobody read them, or their disk was full.",
                    log_lines_dropped(),
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
