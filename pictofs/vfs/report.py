"""The texts of `.pictofs`: status.json, metrics, access.log.

`metrics` goes through prometheus_client's text exposition, which knows the format's escapes and suffixes; the
numbers themselves are plain integers of ours, since one of its counters costs 1 µs and a lock for each
increment. It is imported when the file is first read.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from pictofs.tree import ControlFile, Tree
from pictofs.vfs.counters import Counters
from pictofs.vfs.reading import Reading
from pictofs.vfs.waiting import Waits

SCHEMA = 1
# What the fetching process says of itself when asked; the shapes stand where it is silent.
_FROM_FETCHING: dict[str, Any] = {
    "dialect": "",
    "online": False,
    "refused": False,
    "requests": {"api": 0, "storage": 0},
    "bytes_fetched": 0,
    "cache": {"dir": "", "bytes": 0, "limit": 0, "files": 0},
    "budget": {"limit": None, "remaining": None, "reset": None},
    "queue": {"demand": 0, "look_ahead": 0, "fill": 0},
    "errors": [],
}

Facts = Callable[[], dict[str, Any]]


class Report:
    """Renders the control files. `facts()` is what the mount knows: version, mountpoint, source, pids, …"""

    def __init__(self, tree: Tree, waits: Waits, reading: Reading, counters: Counters, facts: Facts) -> None:
        self._tree = tree
        self._waits = waits
        self._reading = reading
        self._counters = counters
        self.facts = facts

    def files(self) -> list[ControlFile]:
        """For `Tree.offer_control`; the order is that of their node ids."""
        return [
            ControlFile("status.json", "status", lambda answer: _json(self.status(answer))),
            ControlFile("metrics", "status", self.metrics),
            ControlFile("access.log", "", lambda answer: self.access_log(), kept_s=0.5),
        ]

    def status(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The document of `status.json` and `pictofs status --json`; `answer` empty: no fetching process."""
        facts = self.facts()
        nobody = {"supervisor": None, "serving": None, "fetching": None}
        pids = {**nobody, **facts.get("pids", {}), **answer.get("pids", {"fetching": None})}
        return {
            "schema": SCHEMA,
            "version": facts.get("version", ""),
            "mountpoint": facts.get("mountpoint", ""),
            "source": facts.get("source", self._tree.settings.source),
            "driver": facts.get("driver", ""),
            "io": facts.get("io", self._tree.settings.io),
            "pids": pids,
            "restarts": facts.get("restarts", 0),
            **{name: answer.get(name, silent) for name, silent in _FROM_FETCHING.items()},
            "datasets": [
                {"name": name, "images": images, "cached": cached}
                for name, images, cached in self._tree.image_counts()
            ],
        }

    def metrics(self, answer: dict[str, Any]) -> bytes:
        """Prometheus text."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
        from prometheus_client.exposition import generate_latest

        status = self.status(answer)
        counters = self._counters

        def counted(name: str, text: str, values: dict[str, float], label: str = "") -> Metric:
            family = CounterMetricFamily(f"pictofs_{name}", text, labels=[label] if label else [])
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            return family

        def gauge(name: str, text: str, values: dict[str, float], label: str = "") -> Metric:
            family = GaugeMetricFamily(f"pictofs_{name}", text, labels=[label] if label else [])
            for key, value in values.items():
                family.add_metric([key] if label else [], value)
            return family

        class Collected:
            def collect(self) -> Iterable[Metric]:
                return families

        families = [
            counted("operations", "File system operations", dict(counters.operations), "operation"),
            counted("failures", "Operations that ended in an errno", dict(counters.failures), "errno"),
            counted("waits", "Operations that had to wait", dict(counters.waited), "operation"),
            counted("wait_seconds", "Time that operations waited", {"": counters.waited_s}),
            counted("timeouts", "Waits that ended without progress", {"": self._waits.timed_out}),
            counted("link_requests", "Requests to the fetching process", {"": self._waits.sent}),
            counted("link_shared", "Waits that joined a request under way", {"": self._waits.shared}),
            counted("block_opens", "Blocks opened from the store", {"": self._reading.hits}),
            counted("block_misses", "Blocks that had to be fetched", {"": self._reading.misses}),
            counted("read_bytes", "Bytes that readers asked for and got", {"": self._reading.bytes}),
            counted("fetched_bytes", "Bytes fetched from the storage host", {"": status["bytes_fetched"]}),
            counted("requests", "Requests to the service, by host", status["requests"], "host"),
            counted("restarts", "Processes that were replaced", {"": status["restarts"]}),
            gauge("online", "1 while the service answers", {"": int(bool(status["online"]))}),
            gauge("waiting", "Operations that wait now", {"": len(self._waits)}),
            gauge("queue", "Fetches queued, by priority", status["queue"], "priority"),
            gauge("cache_bytes", "Bytes in the store", {"": status["cache"].get("bytes", 0)}),
            gauge("cache_limit_bytes", "Limit of the store", {"": status["cache"].get("limit") or 0}),
        ]
        if status["budget"].get("remaining") is not None:
            remaining = status["budget"]["remaining"]
            families.append(gauge("budget_remaining", "API requests left in the hour", {"": remaining}))
        return bytes(generate_latest(Collected()))

    def access_log(self) -> bytes:
        """The recent operations, a line each; the first look starts the recording."""
        recorded = self._counters.lines()
        self._counters.watch()
        lines = ["# recorded while this file is being looked at; look again"] if not recorded else []
        for wall_ns, name, node, what, outcome in recorded:
            at = time.strftime("%H:%M:%S", time.localtime(wall_ns // 1_000_000_000))
            lines.append(f"{at}.{wall_ns // 1_000_000 % 1000:03d} {name} {node:x} {what} {outcome}".rstrip())
        return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"
