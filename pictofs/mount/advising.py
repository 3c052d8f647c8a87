"""Paths on a mount as nodes, by the hundred thousand, and what is asked of the fetching process about them.

A directory is resolved once and its files by one query each: an order of a million paths takes some
twenty seconds, where a stat of each would fetch a million annotations.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import Kind, node_id, node_kind, node_pk
from pictofs.config import Settings
from pictofs.errors import UsageError
from pictofs.mount import asked
from pictofs.mount.record import Record
from pictofs.tree import ARCHIVE, Root, Tree

MESSAGE_NODES = 500_000   # of one message: a frame holds 16 MiB
_FOREVER_S = 1e9


@dataclass(slots=True)
class _Known:
    """A mount, and its catalog open for reading."""

    mount: Record
    reader: CatalogReader
    tree: Tree
    directories: dict[str, int] = field(default_factory=dict)


class Nodes:
    """Resolves paths; a context manager that closes the catalogs it opened."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._mounts: dict[str, _Known] = {}    # by mountpoint
        self._folders: dict[str, tuple[_Known, int]] = {}

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        for known in self._mounts.values():
            known.tree.close()

    def node(self, path: str) -> tuple[Record, int]:
        """The mount and the node of an image, an annotation or an archive. NotMounted, UsageError."""
        folder, name = os.path.split(os.path.abspath(path))
        known, directory = self._folders.get(folder) or self._folder(folder)
        reader, kind, pk = known.reader, node_kind(directory), node_pk(directory)
        if kind in (Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS):
            row = reader.view_directory(pk)
            pk = row.directory if row is not None else 0
            kind = Kind.IMAGES if kind is Kind.VIEW_IMAGES else Kind.ANNOTATIONS
        if kind is Kind.IMAGES:
            image = reader.image_named(pk, name)
            if image is not None:
                return known.mount, node_id(image.pk, Kind.IMAGE)
        elif kind is Kind.ANNOTATIONS:
            image = reader.image_of_annotation_name(pk, name)
            if image is not None:
                return known.mount, node_id(image.annotation, Kind.ANNOTATION)
        elif kind is Kind.EXPORTS and name.endswith(ARCHIVE):
            export = reader.export_named(pk, name.removesuffix(ARCHIVE))
            if export is not None and export.status == "completed":
                return known.mount, node_id(export.pk, Kind.EXPORT)
        raise UsageError(f"{path} is no image, annotation or archive of a mount")

    def below(self, path: str) -> Iterator[tuple[Record, int, str]]:
        """(mount, node, path) of each image, annotation and archive at or below a path, in order."""
        real = os.path.abspath(path)
        if not os.path.isdir(real):
            yield (*self.node(real), path)
            return
        for where, folders, names in os.walk(real):
            folders.sort()
            known, directory = self._folders.get(where) or self._folder(where)
            if node_kind(directory) not in (
                Kind.IMAGES, Kind.ANNOTATIONS, Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS, Kind.EXPORTS,
            ):  # fmt: skip
                continue
            if node_kind(directory) is Kind.EXPORTS:
                # an archive whole, not once more as its members; its state is the catalog's
                folders.clear()
                names = [name for name in names if name.endswith(ARCHIVE)]
            for name in sorted(names):
                yield known.mount, self.node(os.path.join(where, name))[1], os.path.join(where, name)

    def reader(self, mount: Record) -> CatalogReader:
        """The catalog behind a mount."""
        return self._mounts[mount.mountpoint].reader

    def _folder(self, folder: str) -> tuple[_Known, int]:
        os.path.isdir(folder)   # through the mount: what was never listed is listed now
        place = asked.find(folder, self._environ)
        known = self._mounts.get(place.mount.mountpoint)
        if known is None:
            reader = CatalogReader.open(os.path.join(place.mount.cache_dir, "catalog.sqlite"))
            roots = [Root(pk, name) for pk, name in place.mount.organizations]
            tree = Tree(reader, roots, Settings(ttl_s=_FOREVER_S, archived="show"))
            known = self._mounts[place.mount.mountpoint] = _Known(place.mount, reader, tree)
        found = self._folders[folder] = known, asked.walk(known.tree, place.parts, nearest=False)
        return found


def announce(paths: Iterable[str | os.PathLike[str]], environ: Mapping[str, str] | None = None) -> int:
    """`pictofs.advise`: see there."""
    with Nodes(os.environ if environ is None else environ) as nodes:
        orders: dict[str, tuple[Record, list[int]]] = {}
        for path in paths:
            mount, node = nodes.node(os.fspath(path))
            orders.setdefault(mount.cache_dir, (mount, []))[1].append(node)
    announced = 0
    for mount, order in orders.values():
        for start in range(0, len(order), MESSAGE_NODES):
            piece = order[start : start + MESSAGE_NODES]
            answer = asked.exchange(mount, "advise", {"nodes": piece, "more": start > 0})
        announced += int(answer["advised"])
    return announced
