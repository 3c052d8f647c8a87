"""status.json in Prometheus' words: what `.pictofs/metrics` says, and `metrics=HOST:PORT`.

Pure: the document in, the text out, so that whoever has the document can tell the metrics without asking the
serving process twice. The text goes through prometheus_client's exposition, which knows the format's escapes
and suffixes; it is imported when metrics are first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Numbers = Mapping[str, float]


def metrics(status: Mapping[str, Any]) -> bytes:
    """Prometheus text of a status document."""
    from prometheus_client.exposition import generate_latest

    class Collected:
        def collect(self) -> Iterable[Metric]:
            return families(status)

    return bytes(generate_latest(Collected()))


def families(status: Mapping[str, Any]) -> list[Metric]:
    """The metrics of a status document, without those of which nothing is known."""
    waits, cache, links = status["waits"], status["cache"], status["links"]
    hits = {name: count for name, count in status["hits"].items() if count is not None}
    datasets = status["datasets"]
    found = [
        _counter("operations", "File system operations", status["operations"], "operation"),
        _counter("failures", "Operations that ended in an errno", status["failures"], "errno"),
        _counter("reads", "Reads by where their bytes were", hits, "from"),
        _counter("read_bytes", "Bytes that readers asked for and got", status["read"]["bytes"]),
        _counter("files_read", "Files that were read to their end", status["read"]["files"]),
        _counter("waits", "Operations that had to wait", waits["operations"], "operation"),
        _counter("wait_seconds", "Time that operations waited", waits["seconds"]),
        _counter("timeouts", "Waits that ended without progress", waits["timed_out"]),
        _counter("link_requests", "Requests to the fetching process", waits["requests"]),
        _counter("link_shared", "Waits that joined a request under way", waits["shared"]),
        _counter("block_opens", "Blocks opened from the store", status["blocks"]["opened"]),
        _counter("block_misses", "Blocks that had to be fetched", status["blocks"]["missed"]),
        _counter("fetched_bytes", "Bytes fetched from the storage host", status["bytes_fetched"]),
        _counter("requests", "Requests to the service, by host", status["requests"], "host"),
        _counter("restarts", "Processes that were replaced", status["restarts"]),
        _gauge("online", "1 while the service answers", int(bool(status["online"]))),
        _gauge("key_refused", "1 while the API key is refused", int(bool(status["refused"]))),
        _gauge("waiting", "Operations that wait now", waits["now"]),
        _gauge("queue", "Fetches queued and under way, by priority", status["queue"], "priority"),
        _gauge("transfers_limit", "Transfers that may run at once now", status["transfers"]),
        _gauge("cache_bytes", "Bytes in the store", cache.get("bytes", 0)),
        _gauge("cache_limit_bytes", "Limit of the store", cache.get("limit") or 0),
        _gauge("cache_files", "Blocks in the store", cache.get("files", 0)),
        _gauge("urls", "Signed URLs that are good now", links["urls"]),
        _gauge("recent_errors", "Lines of `errors` in status.json, 50 at most", len(status["errors"])),
        _gauge("dataset_images", "Images of a dataset", _by_name(datasets, "images"), "dataset"),
        _gauge("dataset_cached", "Images of a dataset in the store", _by_name(datasets, "cached"), "dataset"),
        _gauge("dataset_bytes", "Bytes of a dataset in the store", _by_name(datasets, "bytes"), "dataset"),
    ]
    if links.get("expires") is not None:
        found.append(_gauge("urls_expire_seconds", "Seconds to the end of the first batch", links["expires"]))
    budget = status["budget"]
    for name, key, text in (
        ("budget_remaining", "remaining", "API requests left in the hour"),
        ("budget_limit", "limit", "API requests an hour"),
        ("budget_reset_seconds", "reset", "When the budget is whole again, Unix time"),
    ):
        if budget.get(key) is not None:
            found.append(_gauge(name, text, budget[key]))
    return found


def _counter(name: str, text: str, value: float | Numbers, label: str = "") -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(f"pictofs_{name}", text, labels=[label] if label else []), value)


def _gauge(name: str, text: str, value: float | Numbers, label: str = "") -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(f"pictofs_{name}", text, labels=[label] if label else []), value)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, value: float | Numbers) -> Metric:
    if isinstance(value, Mapping):
        for key, number in value.items():
            family.add_metric([key], number)
    else:
        family.add_metric([], value)
    return family


def _by_name(datasets: Iterable[Mapping[str, Any]], key: str) -> dict[str, float]:
    return {row["name"]: row[key] for row in datasets if row.get(key) is not None}
