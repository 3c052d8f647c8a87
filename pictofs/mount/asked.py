"""What a command asks of the fetching process about paths on a mount: refresh, pin, unpin.

A path becomes a node by the catalog, as the serving process would see it, only without looking at any age;
the mount itself is asked first for what nobody has listed yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, Kind, node_id, node_kind, node_pk
from pictofs.config import Settings
from pictofs.drivers import mountinfo
from pictofs.errors import NotMounted, PictofsError, Unreachable, UsageError
from pictofs.link import Client, LinkLost
from pictofs.link.messages import Ask, Failed, Told
from pictofs.mount import places, record
from pictofs.mount.record import Record
from pictofs.tree import Need, Root, Tree

ANSWER_LIMIT_S = 120.0  # without progress; the fetching process has bounds of its own
PAUSE_S = 5.0  # within which a fetching process that ended is replaced
_FOREVER_S = 1e9  # a ttl at which nothing is too old


class Refused(PictofsError):
    """The fetching process said no, with this exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a mount: whose, and the components below the mountpoint."""

    mount: Record
    parts: tuple[str, ...]


def ask(
    verb: str, paths: Iterable[str], environ: Mapping[str, str]
) -> Iterator[tuple[str, PictofsError | None]]:
    """Ask `verb` about each path; yields it with None, or with what went wrong."""
    for path in paths:
        try:
            where = find(path, environ)
            exchange(where.mount, verb, {"nodes": _nodes(where, verb)})
        except PictofsError as error:
            yield path, error
        else:
            yield path, None


def tell(mount: Record, verb: str, nodes: list[int]) -> None:
    """Ask `verb` about nodes of the mount's catalog. Raises what the fetching process says; Unreachable."""
    exchange(mount, verb, {"nodes": nodes})


def find(path: str, environ: Mapping[str, str]) -> Place:
    """Which mount a path lies on; NotMounted for one on none of ours."""
    # Through the mount: links of views lead to the files they mean, and what was never listed is listed now.
    real = os.path.realpath(path)
    below = mountinfo.containing(real)
    known = None
    if below is not None and below.ours:
        known = record.of_mountpoint(places.run_dir(environ, os.getuid()), below.mountpoint)
    if known is None:
        raise NotMounted(f"{path} is on no mount of yours; `pictofs status` lists them")
    relative = os.path.relpath(real, known.mountpoint)
    return Place(known, () if relative == "." else tuple(relative.split("/")))


def _nodes(where: Place, verb: str) -> list[int]:
    reader = CatalogReader.open(os.path.join(where.mount.cache_dir, "catalog.sqlite"))
    roots = [Root(pk, name) for pk, name in where.mount.organizations]
    tree = Tree(reader, roots, Settings(ttl_s=_FOREVER_S, archived="show"))
    try:
        node = walk(tree, where.parts, nearest=verb == "refresh")
        if verb == "refresh" and node_kind(node) is Kind.DATASET:
            # For a person a dataset is all that is in it.
            row = reader.dataset(node_pk(node))
            if row is not None:
                return [node, node_id(row.root_directory, Kind.IMAGES), node_id(row.pk, Kind.EXPORTS)]
        return [node]
    finally:
        tree.close()


def walk(tree: Tree, parts: tuple[str, ...], *, nearest: bool) -> int:
    """The node that the names lead to; `nearest`: of what is not there (yet), the folder it would be in."""
    node = ROOT_NODE
    for place, name in enumerate(parts):
        try:
            entry = tree.lookup(node, name)
        except (Need, OSError):
            entry = None
        if entry is None or entry.attr is None:
            if nearest and place:
                return node
            raise UsageError(f"there is no {'/'.join(parts[: place + 1])} on the mount")
        node = entry.attr.node
    return node


def exchange(mount: Record, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask the fetching process behind a mount."""
    return exchange_in(mount.cache_dir, verb, arguments)


def exchange_in(cache_dir: str, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask that of a cache directory, also between the start of a fetching process and the moment when a
    mount attaches to it: until then it knows nothing of what the mount serves.
    """
    deadline_s = time.monotonic() + PAUSE_S
    while True:
        try:
            return _exchange_once(cache_dir, verb, arguments)
        except Refused as error:
            if error.exit_code != UsageError.exit_code or time.monotonic() > deadline_s:
                raise
            time.sleep(0.1)


def _exchange_once(cache_dir: str, verb: str, arguments: dict[str, Any]) -> dict[str, Any]:
    client = Client(os.path.join(cache_dir, "fetch.sock"))
    try:
        _connect(client)
        answer = client.exchange(Ask(client.next_id(), verb, arguments), ANSWER_LIMIT_S)
    except LinkLost as error:
        raise Unreachable(f"{error}; `pictofs status` says more") from error
    except TimeoutError:
        raise Unreachable("the fetching process does not answer; its log is fetch.log in cache_dir") from None
    finally:
        client.close()
    if isinstance(answer, Failed):
        raise Refused(answer.what, answer.exit_code)
    return answer.answer if isinstance(answer, Told) else {}


def _connect(client: Client) -> None:
    """Connect, also while the fetching process is being replaced: that is a pause."""
    deadline = time.monotonic() + PAUSE_S
    while True:
        try:
            client.connect()
        except LinkLost:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
        else:
            return
