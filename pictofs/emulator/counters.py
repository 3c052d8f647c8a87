"""What was asked of each host: requests by route and path, bytes, keys, connections, ranges.

One `HostCounters` per host, on the event loop. Paths are counted one by one up to a bound, so that an epoch
over a million objects costs a bounded memory; `paths_dropped` says how many requests went uncounted there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_MOST_PATHS = 300_000  # distinct paths that are counted one by one
_MOST_RANGES = 50_000  # range requests that are kept one by one


@dataclass
class HostCounters:
    """Counters of one host since the last reset."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)  # "METHOD /raw/path", without the query
    paths_dropped: int = 0
    bytes_sent: int = 0  # bodies, not heads
    keys: set[str] = field(default_factory=set)  # values of X-API-Key
    authorization: int = 0  # requests with an Authorization or Cookie header
    range_requests: int = 0
    ranges: list[list[str]] = field(default_factory=list)  # [path, Range header]
    faults: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    connections_open: int = 0
    connections_most: int = 0
    in_flight: int = 0
    in_flight_most: int = 0

    def reset(self) -> None:
        """Begin again; what is open or in flight stays counted."""
        fresh = HostCounters(connections_open=self.connections_open, in_flight=self.in_flight)
        fresh.connections_most, fresh.in_flight_most = self.connections_open, self.in_flight
        self.__dict__.update(fresh.__dict__)

    def connected(self) -> None:
        """A connection was accepted."""
        self.connections += 1
        self.connections_open += 1
        self.connections_most = max(self.connections_most, self.connections_open)

    def disconnected(self) -> None:
        """A connection ended."""
        self.connections_open -= 1

    def begin(self, method: str, raw_path: str) -> None:
        """A request came in."""
        self.requests += 1
        self.in_flight += 1
        if self.in_flight > self.in_flight_most:
            self.in_flight_most = self.in_flight
        name = f"{method} {raw_path}"
        if name in self.paths or len(self.paths) < _MOST_PATHS:
            self.paths[name] += 1
        else:
            self.paths_dropped += 1

    def ranged(self, raw_path: str, header: str) -> None:
        """The request asked for a range."""
        self.range_requests += 1
        if len(self.ranges) < _MOST_RANGES:
            self.ranges.append([raw_path, header])

    def end(self, route: str, status: int) -> None:
        """The request was answered, or broken off (status 0)."""
        self.in_flight -= 1
        self.routes[route] += 1
        self.statuses[status] += 1

    def report(self, detail: bool) -> dict[str, Any]:
        """The counters as JSON; `detail` adds every path and range."""
        shown: dict[str, Any] = {
            "requests": self.requests,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "routes": dict(self.routes),
            "bytes_sent": self.bytes_sent,
            "keys": sorted(self.keys),
            "authorization": self.authorization,
            "range_requests": self.range_requests,
            "faults": dict(self.faults),
            "connections": self.connections,
            "connections_open": self.connections_open,
            "connections_most": self.connections_most,
            "in_flight": self.in_flight,
            "in_flight_most": self.in_flight_most,
            "distinct_paths": len(self.paths),
            "most_requests_of_one_path": max(self.paths.values(), default=0),
        }
        if detail:
            shown |= {"paths": dict(self.paths), "paths_dropped": self.paths_dropped, "ranges": self.ranges}
        return shown
