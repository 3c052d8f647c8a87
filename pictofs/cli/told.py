"""What a command has changed at the service, told to the mounts of this machine: they show it at once.

Each fetching process of this user that serves the organization is asked to look again, past any ttl: at the
list of datasets, or at one dataset's exports. The change itself is done by then, so a mount that cannot be
told costs a line and no failure; it finds out after its ttl.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from pictofs.api import Dataset
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import Kind, OrganizationRow, node_id
from pictofs.cli.account import Account
from pictofs.errors import PictofsError
from pictofs.mount import asked, places, record
from pictofs.mount.record import Record

Nodes = Callable[[CatalogReader, int], list[int]]


def datasets_changed(account: Account, environ: Mapping[str, str] = os.environ) -> None:
    """A dataset was created, changed or deleted."""
    _tell(account, lambda reader, organization: [node_id(organization, Kind.ORGANIZATION)], environ)


def exports_changed(account: Account, dataset: Dataset, environ: Mapping[str, str] = os.environ) -> None:
    """An export of this dataset was ordered, completed or deleted."""

    def nodes(reader: CatalogReader, organization: int) -> list[int]:
        return [
            node_id(row.pk, Kind.EXPORTS)
            for row in reader.datasets(organization, archived=True)
            if (row.remote_id == dataset.id if dataset.id else row.name == dataset.name)
        ]

    _tell(account, nodes, environ)


def _tell(account: Account, nodes: Nodes, environ: Mapping[str, str]) -> None:
    # One fetching process serves all mounts of a cache directory.
    mounts = {mount.cache_dir: mount for mount in record.live(places.run_dir(environ, os.getuid()))}
    for mount in mounts.values():
        try:
            found = _nodes(account, mount, nodes, environ)
            if found:
                asked.tell(mount, "refresh", found)
        except PictofsError as error:
            # One that begins or ends just now shows nobody anything old.
            live = record.live(places.run_dir(environ, os.getuid()))
            if any(each.ready for each in live if each.mountpoint == mount.mountpoint):
                silent = f"{mount.mountpoint} could not be told and shows it after its ttl"
                print(f"pictofs: done, but {silent}: {error}", file=sys.stderr)


def _nodes(account: Account, mount: Record, nodes: Nodes, environ: Mapping[str, str]) -> list[int]:
    reader = CatalogReader.open(os.path.join(mount.cache_dir, "catalog.sqlite"))
    try:
        ours = reader.organization_for_key(account.client.origin, account.api_key)
        served = {
            pk
            for other in record.live(places.run_dir(environ, os.getuid()))
            if other.cache_dir == mount.cache_dir
            for pk, _ in other.organizations
        }
        rows = [row for pk in sorted(served) if (row := reader.organization(pk)) is not None]
        ours_perhaps = [row.pk for row in rows if _may_be(row, ours, account.client.origin)]
        return [node for pk in ours_perhaps for node in nodes(reader, pk)]
    finally:
        reader.close()


def _may_be(row: OrganizationRow, ours: OrganizationRow | None, origin: str) -> bool:
    """Whether this is the key's organization, as far as is known here.

    A key that no mount has used, and keys of dialect A, where the service does not say whose they are, may be
    of any organization at their origin; looking again at another one costs a request.
    """
    if row.origin != origin:
        return False
    return ours is None or row.pk == ours.pk or "key:" in (row.remote_id[:4], ours.remote_id[:4])
