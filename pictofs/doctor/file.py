"""`pictofs explain PATH`: what a read of a file has to wait for, from catalog and fetching process.

Nothing here goes through the mount, which may be what hangs: the path is followed in the catalog.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, Kind, block_bytes, node_id, node_kind, node_pk
from pictofs.config import Settings
from pictofs.doctor import verdicts
from pictofs.errors import NotMounted, PictofsError
from pictofs.mirror.locate import place
from pictofs.mount import asked, places, record, report
from pictofs.mount.asked import Place
from pictofs.tree import Need, Root, Tree

_FOREVER_S = 1e9
ERRORS = 5
_FILES = frozenset({Kind.IMAGE, Kind.ANNOTATION, Kind.EXPORT, Kind.MEMBER})


def explain(path: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is known of a path on a mount, and a verdict of one sentence. NotMounted."""
    where = find(path, environ)
    found: dict[str, Any] = {"path": path, "mountpoint": where.mount.mountpoint, "verdict": ""}
    reader = CatalogReader.open(os.path.join(where.mount.cache_dir, "catalog.sqlite"))
    roots = [Root(pk, name) for pk, name in where.mount.organizations]
    tree = Tree(reader, roots, Settings(ttl_s=_FOREVER_S, archived="show"))
    try:
        node, rest = follow(tree, reader, where.parts)
        found |= _of_catalog(reader, tree, node, rest)
    finally:
        tree.close()
    found["asked"] = _of_fetching(where, node)
    found["mount"] = _of_mount(where)
    found["verdict"] = verdicts.of_file(found)
    return found


def find(path: str, environ: Mapping[str, str]) -> Place:
    """Which mount a path lies on, without a look into it; NotMounted for one on none of ours."""
    known = {mount.mountpoint: mount for mount in record.live(places.run_dir(environ, os.getuid()))}
    parts = [part for part in os.path.abspath(path).split("/") if part]
    here = "/"
    for at in range(len(parts) + 1):
        if here in known:
            return Place(known[here], tuple(parts[at:]))
        inside = next((point for point in known if here.startswith(point + "/")), None)
        if inside is not None:  # by a link from outside
            return Place(known[inside], (*os.path.relpath(here, inside).split("/"), *parts[at:]))
        if at < len(parts):
            here = os.path.join(here, parts[at])
            here = here if here in known else os.path.realpath(here)
    raise NotMounted(f"{path} is on no mount of yours; `pictofs status` lists them")


def follow(tree: Tree, reader: CatalogReader, parts: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """(the node that the names lead to, names that the catalog does not know). Views' links are followed."""
    node = ROOT_NODE
    for at, name in enumerate(parts):
        try:
            entry = tree.lookup(node, name)
        except (Need, OSError):
            return node, parts[at:]
        if entry.attr is None:
            return node, parts[at:]
        node = entry.attr.node
        kind, pk = node_kind(node), node_pk(node)
        if kind is Kind.IMAGE_LINK:
            node = node_id(pk, Kind.IMAGE)
        elif kind is Kind.ANNOTATION_LINK:
            image = reader.image(pk)
            node = node_id(image.annotation, Kind.ANNOTATION) if image is not None else node
    return node, ()


def _of_catalog(reader: CatalogReader, tree: Tree, node: int, rest: tuple[str, ...]) -> dict[str, Any]:
    kind, where = node_kind(node), place(reader, node)
    dataset = where.dataset if where is not None else None
    found: dict[str, Any] = {
        "kind": kind.name.lower(),
        "unknown": "/".join(rest),
        "dataset": None,
        "file": None,
    }
    if dataset is not None:
        found["dataset"] = {
            "name": dataset.file_name,
            "images": dataset.image_count,
            "checked_s": _age_s(dataset.checked_ns),
            "listed_s": _age_s(dataset.listed_ns),
            "exports_listed_s": _age_s(dataset.exports_listed_ns),
        }
    if kind in _FILES and not rest:
        size_bytes = reader.size_bytes(node)
        blocks = reader.blocks(node)
        version = tree.xattrs(node).get("user.pictofs.version", b"")
        found["file"] = {
            "size": size_bytes,
            "version": version.decode("utf-8", "replace"),
            "whole": reader.whole(node, size_bytes) if size_bytes is not None else False,
            "blocks": len(blocks),
            "of_blocks": None if size_bytes is None else -(-size_bytes // block_bytes(kind)),
            "bytes": sum(row.size_bytes for row in blocks),
        }
    return found


def _of_fetching(where: Place, node: int) -> dict[str, Any]:
    if node_kind(node) in (Kind.ROOT, Kind.CONTROL):
        return {}
    try:
        return asked.exchange(where.mount, "explain", {"nodes": [node]})
    except PictofsError as error:
        return {"error": str(error)}


def _of_mount(where: Place) -> dict[str, Any] | None:
    status = report.told(where.mount.mountpoint)
    if status is None:
        return None
    kept = ("online", "refused", "budget", "queue", "transfers", "links", "io", "waits")
    return {**{name: status.get(name) for name in kept}, "errors": (status.get("errors") or [])[-ERRORS:]}


def _age_s(seen_ns: int) -> float | None:
    return round((time.time_ns() - seen_ns) / 1e9, 1) if seen_ns else None
