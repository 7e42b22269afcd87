"""The metrics for Prometheus. Those of the database are measured at each scrape, by `sql/430_metrics.sql`.

With `serve --workers`, prometheus_client adds up the processes through files in PROMETHEUS_MULTIPROC_DIR.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_SLOW = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)

REQUESTS = Counter("threadline_http_requests", "Requests that were answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "threadline_http_request_seconds", "From the head of a request to the end of its answer.", ["route"], buckets=_SLOW
)
POOL_SIZE = Gauge("threadline_database_connections_max", "Connections that may be open.", multiprocess_mode="livesum")
CALLS_UNDER_WAY = Gauge(
    "threadline_database_calls_under_way", "Calls that hold a connection now.", multiprocess_mode="livesum"
)
WAIT_SECONDS = Histogram("threadline_database_wait_seconds", "How long calls wait for a connection.", buckets=_FAST)
CALL_SECONDS = Histogram(
    "threadline_database_call_seconds", "How long calls take in Postgres.", ["function"], buckets=_SLOW
)
CALL_FAILURES = Counter("threadline_database_failures", "Calls that Postgres did not answer.", ["error"])
LOST_BROADCASTS = Counter("threadline_broadcast_failures", "Broadcasts that Postgres could not hand to Realtime.")
CONVERSATIONS = Counter("threadline_ingest_conversations", "Conversations that were sent, by outcome.", ["outcome"])
MESSAGES = Counter("threadline_ingest_messages", "Messages that were stored.")
SUMMARIES = Counter("threadline_summary_calls", "Calls of the model, by outcome.", ["model", "outcome"])
TOKENS = Counter("threadline_summary_tokens", "Tokens that the model read or wrote.", ["model", "kind"])
COST = Counter("threadline_summary_cost_dollars", "What these cost by the prices in the settings.", ["model"])


def render(measured: Iterable[dict[str, Any]]) -> bytes:
    """Return all metrics as text, with those that the database measured."""
    registry = REGISTRY
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        _forget_the_dead(folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    extra = CollectorRegistry()
    extra.register(_Measured(measured))
    return generate_latest(registry) + generate_latest(extra)


def _forget_the_dead(folder: str) -> None:
    # Drop the gauges of killed processes; their counters stay.
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid)


class _Measured(Collector):
    def __init__(self, measured: Iterable[dict[str, Any]]) -> None:
        self._families: dict[str, GaugeMetricFamily] = {}
        for metric in measured:
            labels = sorted(metric["labels"])
            family = self._families.setdefault(
                metric["name"], GaugeMetricFamily(metric["name"], metric["help"], labels=labels)
            )
            family.add_metric([metric["labels"][label] for label in labels], metric["value"])

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._families.values()
