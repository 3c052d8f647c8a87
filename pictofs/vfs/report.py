"""The texts of `.pictofs`: status.json, metrics (the same in Prometheus' words), access.log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from pictofs.tree import ControlFile, Tree
from pictofs.vfs.counters import Counters
from pictofs.vfs.metrics import metrics
from pictofs.vfs.reading import Reading
from pictofs.vfs.waiting import Waits

SCHEMA = 1
SHOWN_WAITS = 100
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
    "transfers": 0,
    "flights": [],
    "links": {"urls": 0, "capacity": 0, "expires": None},
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
            ControlFile("metrics", "status", lambda answer: metrics(self.status(answer))),
            ControlFile("access.log", "", lambda answer: self.access_log()),
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
            "datasets": self._datasets(answer.get("datasets", [])),
            **self._served(),
        }

    def dump(self) -> dict[str, Any]:
        """For a state dump: the document without the fetching process' part, and who waits for what."""
        return {**self.status({}), "waiting": self._waits.underway(SHOWN_WAITS)}

    def _datasets(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As they stand in our catalog; the fetching process knows how many bytes each has in the store."""
        sizes_bytes = {row["name"]: row.get("bytes") for row in told}
        return [
            {"name": name, "images": images, "cached": cached, "bytes": sizes_bytes.get(name)}
            for name, images, cached in self._tree.image_counts()
        ]

    def _served(self) -> dict[str, Any]:
        """What this process counts."""
        counters, reading, waits = self._counters, self._reading, self._waits
        waited = counters.waited["read"]
        return {
            # what the kernel answers by itself nobody sees
            "hits": {"kernel": None, "disk": counters.operations["read"] - waited, "network": waited},
            "read": {"bytes": reading.bytes, "files": reading.files},
            "operations": dict(counters.operations),
            "failures": dict(counters.failures),
            "waits": {
                "now": len(waits),
                "operations": dict(counters.waited),
                "seconds": round(counters.waited_s, 3),
                "timed_out": waits.timed_out,
                "requests": waits.sent,
                "shared": waits.shared,
            },
            "blocks": {"opened": reading.hits, "missed": reading.misses},
        }

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
