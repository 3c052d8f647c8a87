"""Cache directories as commands see them: which ones, what lies in them, and work on them.

Only the fetching process writes to one. Where none runs (nothing is mounted) one is started for the while of
the work: a mount that comes meanwhile finds it and attaches.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import OrganizationRow
from pictofs.config import Settings
from pictofs.errors import CacheUnusable, PictofsError, UsageError
from pictofs.mount import asked, places, record
from pictofs.mount.fetching import FetchingProcess, Outcome
from pictofs.store import default_limits
from pictofs.store.filesystem import kind_of_file_system

CATALOG = "catalog.sqlite"
PAGE_BLOCKS = 1000
START_LIMIT_S = 30.0
_STOP_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class _Order:
    """A fetching process without a mount."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    log: str = os.devnull  # it has its own, fetch.log; a person's terminal is not the place


@dataclass(slots=True)
class Share:
    """What one dataset has in the store; `vanished` is of it what no name leads to any more."""

    organization: str
    name: str
    images: int = 0
    cached: int = 0
    blocks: int = 0
    bytes: int = 0
    vanished_bytes: int = 0
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Info:
    """A cache directory at a glance. `fetching` is the process that serves it, 0 for none."""

    dir: str
    bytes: int
    files: int
    limit: int
    min_free: int
    free: int
    file_system: str
    catalog_bytes: int
    fetching: int
    mountpoints: tuple[str, ...]
    pins: int
    datasets: tuple[Share, ...]


def directories(settings: Settings, environ: Mapping[str, str], *, said: bool) -> list[str]:
    """The cache directories that a command is about: the one that was `said`, else those of the live mounts,
    else the one that the next mount would take.
    """
    if not said:
        mounts = record.live(places.run_dir(environ, os.getuid()))
        if mounts:
            return sorted({mount.cache_dir for mount in mounts})
    return [settings.cache_dir]


def exists(cache_dir: str) -> bool:
    """Whether a mount ever used it."""
    return os.path.exists(os.path.join(cache_dir, CATALOG))


def info(cache_dir: str, settings: Settings, environ: Mapping[str, str]) -> Info:
    """What lies in a cache directory, counted block by block. CacheUnusable."""
    mounts = [m for m in record.live(places.run_dir(environ, os.getuid())) if m.cache_dir == cache_dir]
    limit, min_free = default_limits(cache_dir)
    limit = limit if settings.cache_size_bytes is None else settings.cache_size_bytes
    min_free = min_free if settings.min_free_bytes is None else settings.min_free_bytes
    pid = 0
    if mounts:
        try:
            told = asked.exchange_in(cache_dir, "status", {})
            limit, pid = int(told["cache"]["limit"]), int(told["pids"]["fetching"])
        except PictofsError:
            pass  # it does not answer: what the settings say
    if not exists(cache_dir):
        return Info(cache_dir, 0, 0, limit, min_free, _free_bytes(cache_dir), "", 0, pid, (), 0, ())
    reader = CatalogReader.open(os.path.join(cache_dir, CATALOG))
    try:
        size_bytes, files = reader.block_totals()
        return Info(
            cache_dir, size_bytes, files, limit, min_free, _free_bytes(cache_dir),
            kind_of_file_system(cache_dir), _catalog_bytes(cache_dir), pid,
            tuple(mount.mountpoint for mount in mounts), len(reader.pinned()), tuple(_shares(reader)),
        )  # fmt: skip
    finally:
        reader.close()


def find_datasets(cache_dir: str, name: str) -> list[int]:
    """The datasets that a name, slug or id means; a deleted one of which something is left where no other is.

    `ORGANIZATION/DATASET` says which of two. UsageError for none, and for several.
    """
    of_organization, _, inner = name.rpartition("/")
    reader = CatalogReader.open(os.path.join(cache_dir, CATALOG))
    try:
        present = [(o, reader.dataset_named(o.pk, inner)) for o in reader.organizations()]
        found = [(o, row) for o, row in present if row is not None]
        if not found:
            rows = [reader.dataset(pk) for pk in _counted(reader)]
            found = [
                (organization, row) for row in rows
                if row is not None and inner in (row.file_name, row.name, row.slug, row.remote_id)
                and (organization := reader.organization(row.organization)) is not None
            ]  # fmt: skip
    finally:
        reader.close()
    if of_organization:
        found = [(o, row) for o, row in found if of_organization in (o.slug, o.name)]
    if not found:
        raise UsageError(f"{cache_dir} knows no dataset {name}; `pictofs cache info` lists what is in it")
    if len({organization.pk for organization, _ in found}) > 1:
        words = " or ".join(f"{_name(o)}/{inner}" for o, _ in found)
        raise UsageError(f"several organizations have a dataset {inner}: say {words}")
    return [row.pk for _, row in found]


def blocks(cache_dir: str, datasets: Collection[int] | None) -> int:
    """How many blocks are in the store; of these datasets, where some are named."""
    reader = CatalogReader.open(os.path.join(cache_dir, CATALOG))
    try:
        if datasets is None:
            return reader.block_totals()[1]
        counted = _counted(reader)
        return sum(counted[pk][0] for pk in datasets if pk in counted)
    finally:
        reader.close()


@contextmanager
def keeper(
    cache_dir: str, settings: Settings, environ: Mapping[str, str]
) -> Iterator[Callable[[str, dict[str, Any]], dict[str, Any]]]:
    """Whom to ask for work on a cache directory, for the while of the block. CacheUnusable, Unreachable."""
    process = FetchingProcess(_Order(replace(settings, cache_dir=cache_dir), environ))
    try:
        if not process.held():
            process.start()
            ready, _, _ = select.select([process.ready_fd], [], [], START_LIMIT_S)
            outcome = process.outcome() if ready else Outcome(False, f"no answer within {START_LIMIT_S:g} s")
            if not outcome.answers:
                raise CacheUnusable(f"no fetching process for {cache_dir}: {outcome.error}")
        yield lambda verb, arguments: asked.exchange_in(cache_dir, verb, arguments)
    except OSError as error:
        raise CacheUnusable(f"cache_dir {cache_dir} cannot be used: {error.strerror}") from error
    finally:
        process.stop(_STOP_LIMIT_S)


def _shares(reader: CatalogReader) -> list[Share]:
    """By organization and name; what is in the store and nobody's at the end."""
    shares: dict[int, Share] = {}
    for organization in reader.organizations():
        for count in reader.image_counts(organization.pk):
            shares[count.dataset] = Share(_name(organization), count.file_name, count.images, count.cached)
    nobodys = Share("", "", gone=True)
    for pk, (blocks, size_bytes, vanished_bytes) in _counted(reader).items():
        share = shares.get(pk)
        if share is None:
            row = reader.dataset(pk)
            of = reader.organization(row.organization) if row is not None else None
            share = nobodys
            if row is not None and of is not None:
                share = shares[pk] = Share(_name(of), row.name, gone=True)
        share.blocks += blocks
        share.bytes += size_bytes
        share.vanished_bytes += vanished_bytes
    ordered = sorted(shares.values(), key=lambda share: (share.organization, share.name))
    return [*ordered, nobodys] if nobodys.blocks else ordered


def _counted(reader: CatalogReader) -> dict[int, tuple[int, int, int]]:
    """Dataset → blocks, bytes, and bytes to which no name leads; 0 is nobody's."""
    found: dict[int, tuple[int, int, int]] = {}
    after = (-1, 0)
    while page := reader.kept(after, PAGE_BLOCKS):
        after = page[-1].node, page[-1].block
        for kept in page:
            blocks, size_bytes, vanished_bytes = found.get(kept.dataset, (0, 0, 0))
            vanished_bytes += 0 if kept.current else kept.size_bytes
            found[kept.dataset] = blocks + 1, size_bytes + kept.size_bytes, vanished_bytes
    return found


def _name(organization: OrganizationRow) -> str:
    return organization.slug or organization.name


def _free_bytes(cache_dir: str) -> int:
    where = Path(cache_dir)
    while not where.exists() and where != where.parent:
        where = where.parent
    status = os.statvfs(where)
    return status.f_bavail * status.f_frsize


def _catalog_bytes(cache_dir: str) -> int:
    found: Sequence[str] = [os.path.join(cache_dir, CATALOG + suffix) for suffix in ("", "-wal")]
    return sum(os.path.getsize(path) for path in found if os.path.exists(path))
