"""The cache directory: whose it is, what it lies on, how much room there is, who serves it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pictofs.catalog import CatalogReader
from pictofs.config import Settings
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.errors import PictofsError
from pictofs.mount.caches import CATALOG, exists
from pictofs.store import default_limits
from pictofs.store.filesystem import is_network, kind_of_file_system

_MEMORY = frozenset({"tmpfs", "ramfs"})
_STACKED = frozenset({"overlay", "aufs"})
_OTHER = "name another folder: cache_dir="


@dataclass(frozen=True, slots=True)
class Folder:
    """What was found at `path`; where there is nothing yet, of the folder above that there is."""

    path: str
    there: bool
    folder: bool
    owner: int
    user: int
    mode: int
    writable: bool
    kind: str                  # of the file system
    free_bytes: int
    total_bytes: int
    free_files: int | None     # None: the file system does not count them
    used_bytes: int            # by blocks
    limit_bytes: int
    min_free_bytes: int
    catalog_error: str = ""


def look(settings: Settings) -> Folder:
    """Gathers it. OSError where not even that can be."""
    path = settings.cache_dir
    there = os.path.lexists(path)
    near = path
    while not os.path.exists(near):
        near = os.path.dirname(near)
    status, room = os.stat(near), os.statvfs(near)
    limit, min_free = default_limits(near)
    used_bytes, catalog_error = 0, ""
    if exists(path):
        try:
            reader = CatalogReader.open(os.path.join(path, CATALOG))
            try:
                used_bytes = reader.block_totals()[0]
            finally:
                reader.close()
        except PictofsError as error:
            catalog_error = str(error)
    return Folder(
        path=path,
        there=there,
        folder=stat.S_ISDIR(status.st_mode),
        owner=status.st_uid,
        user=os.geteuid(),
        mode=stat.S_IMODE(status.st_mode),
        writable=os.access(near, os.W_OK | os.X_OK),
        kind=kind_of_file_system(near),
        free_bytes=room.f_bavail * room.f_frsize,
        total_bytes=room.f_blocks * room.f_frsize,
        free_files=room.f_favail if room.f_files else None,
        used_bytes=used_bytes,
        limit_bytes=limit if settings.cache_size_bytes is None else settings.cache_size_bytes,
        min_free_bytes=min_free if settings.min_free_bytes is None else settings.min_free_bytes,
        catalog_error=catalog_error,
    )


def checks(folder: Folder, io: str) -> Iterator[Finding]:
    """All of it."""
    yield rights(folder)
    yield file_system(folder, io)
    yield space(folder)
    if folder.catalog_error:
        yield bad("catalog", folder.catalog_error, "a mount sets a damaged one aside and begins anew")


def rights(folder: Folder) -> Finding:
    """Whether it is this user's, and nobody else's."""
    if not folder.there:
        if folder.writable:
            return good("cache directory", f"{folder.path} is made by the first mount")
        return bad("cache directory", f"{folder.path} is not there and cannot be made", _OTHER)
    if not folder.folder:
        return bad("cache directory", f"{folder.path} is no folder", _OTHER)
    if folder.owner != folder.user:
        what = f"{folder.path} belongs to user {folder.owner}, and this is user {folder.user}"
        return bad("cache directory", what, _OTHER)
    if not folder.writable:
        return bad("cache directory", f"{folder.path} cannot be written", f"chmod 700 {folder.path}")
    if folder.mode & 0o077:
        what = f"others may look into {folder.path} (mode {folder.mode:04o})"
        return poor("cache directory", what, f"chmod 700 {folder.path}; a mount does it too")
    return good("cache directory", f"{folder.path} is this user's alone")


def file_system(folder: Folder, io: str) -> Finding:
    """What it lies on."""
    said = f"cache_dir is on {folder.kind or 'an unknown file system'}"
    if is_network(folder.kind):
        return bad("cache file system", f"{said}, which keeps no locks between processes", _OTHER)
    if folder.kind in _MEMORY:
        return poor("cache file system", f"{said}: it takes memory, and is gone after a restart", _OTHER)
    if folder.kind in _STACKED:
        what = f"{said}, which io=passthrough cannot read from"
        if io == "passthrough":
            return poor("cache file system", what, _OTHER)
        return good("cache file system", what)
    return good("cache file system", said)


def space(folder: Folder) -> Finding:
    """Room for what may still come."""
    free, floor = gib(folder.free_bytes), gib(folder.min_free_bytes)
    if folder.free_bytes <= folder.min_free_bytes:
        mend = "free some disk, lower min_free=, or `pictofs cache clear`"
        return bad("cache space", f"{free} free, and min_free={floor}: nothing new is kept", mend)
    if folder.free_files is not None and folder.free_files < 10_000:
        what = f"{folder.free_files} files may still be made there: each block is one"
        return bad("cache space", what, "free some, or name another file system: cache_dir=")
    to_come = folder.limit_bytes - folder.used_bytes
    said = f"{gib(folder.used_bytes)} of cache_size={gib(folder.limit_bytes)} used, {free} free"
    if to_come > folder.free_bytes - folder.min_free_bytes:
        what = f"{said}: min_free={floor} ends it before cache_size does"
        return poor("cache space", what, "lower cache_size=, or free some disk")
    return good("cache space", said)


def gib(size_bytes: int) -> str:
    """Bytes as an option takes them."""
    for unit, factor in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f}{unit}"
    return f"{size_bytes} B"
