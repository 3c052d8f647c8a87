"""What the fetching process says of itself: its part of status.json."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DirectoryRow, Kind
from pictofs.mirror.access import Membership
from pictofs.mirror.attach import Register
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.links import POOL_URLS
from pictofs.mirror.locate import place
from pictofs.mirror.policy import Limits
from pictofs.mirror.troubles import Troubles
from pictofs.mirror.usage import Usage

SHOWN_FLIGHTS = 20


class Report:
    """`carried` gives (requests, bytes) of all storage transfers so far, `ahead` what waits to be sent."""

    def __init__(
        self,
        reader: CatalogReader,
        register: Register,
        fetcher: Fetcher,
        limits: Limits,
        cache_dir: str,
        troubles: Troubles,
        usage: Usage,
        carried: Callable[[], tuple[int, int]],
        ahead: Callable[[], dict[str, int]],
        jobs: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._register = register
        self._fetcher = fetcher
        self._limits = limits
        self._cache_dir = cache_dir
        self._troubles = troubles
        self._usage = usage
        self._carried = carried
        self._ahead = ahead
        self._jobs = jobs

    def document(self, members: Sequence[Membership]) -> dict[str, Any]:
        """For the mounts of these members; what the cache directory shares is of all."""
        size_bytes, files = self._reader.block_totals()
        ahead = self._ahead()
        requests, received_bytes = self._carried()
        return {
            "pids": {"fetching": os.getpid()},
            "dialect": next((member.access.dialect for member in members if member.access.dialect), ""),
            "online": all(member.access.standing.online for member in members),
            "refused": any(member.access.standing.refused for member in members),
            "requests": {"api": self._register.api_requests, "storage": requests},
            "bytes_fetched": received_bytes,
            "cache": {
                "dir": self._cache_dir,
                "bytes": size_bytes,
                "limit": self._limits.cache_size_bytes,
                "files": files,
            },
            "budget": _budget(members),
            "queue": {name: count + ahead.get(name, 0) for name, count in self._fetcher.counts().items()},
            "transfers": self._jobs(),
            "flights": self._flights(),
            "links": _links(members),
            "datasets": self._datasets(members),
            "errors": self._troubles.recent(),
        }

    def _flights(self) -> list[dict[str, Any]]:
        return [
            {
                "path": path_of(self._reader, each.fetch.node),
                "block": each.fetch.block,
                "priority": each.priority.name.lower(),
                "doing": each.doing,
                "seconds": round(each.age_s, 1),
                "bytes": each.size_bytes,
                "pids": list(each.pids),
            }
            for each in self._fetcher.underway(SHOWN_FLIGHTS)
        ]

    def _datasets(self, members: Sequence[Membership]) -> list[dict[str, Any]]:
        usage = self._usage.latest()
        return [
            {
                "name": count.file_name,
                "images": count.images,
                "cached": count.cached,
                "bytes": None if usage is None else usage.get(count.dataset, 0),
            }
            for member in members
            for count in self._reader.image_counts(member.organization)
        ]


def _budget(members: Sequence[Membership]) -> dict[str, Any]:
    """The tightest of the keys'."""
    budgets = [budget for member in members if (budget := member.access.client.budget)]
    tightest = min(budgets, key=lambda budget: budget.remaining, default=None)
    if tightest is None:
        return {"limit": None, "remaining": None, "reset": None}
    return {"limit": tightest.limit, "remaining": tightest.remaining, "reset": tightest.reset_s}


def _links(members: Sequence[Membership]) -> dict[str, Any]:
    states = [member.partition.pool.state() for member in members]
    left_s = min((left for _, left in states if left is not None), default=None)
    return {
        "urls": sum(urls for urls, _ in states),
        "capacity": POOL_URLS * len(states),
        "expires": None if left_s is None else round(left_s, 1),
    }


def path_of(reader: CatalogReader, node: int) -> str:
    """Where a file stands below the organization's folder; its number where no name leads there any more."""
    where = place(reader, node)
    if where is None or where.dataset is None:
        return f"node {node:x}"
    folder = where.dataset.file_name
    if where.image is not None and where.image.directory:
        image = where.image
        of_annotation = where.kind is Kind.ANNOTATION
        name = image.annotation_name if of_annotation else image.file_name
        face = "annotations" if of_annotation else "images"
        return "/".join([folder, face, *_directories(reader, image.directory), name])
    if where.export is not None:
        return f"{folder}/exports/{where.export.file_name}.zip"
    return f"{folder}, an earlier version"


def _directories(reader: CatalogReader, pk: int) -> list[str]:
    names: list[str] = []
    row: DirectoryRow | None = reader.directory(pk)
    while row is not None and row.parent:
        names.insert(0, row.file_name)
        row = reader.directory(row.parent)
    return names
