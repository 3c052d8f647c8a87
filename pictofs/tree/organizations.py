"""The root of the mount, one folder for each organization, and the datasets in it."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from pictofs import names
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, DatasetRow, Kind, OrganizationRow, node_id, node_pk
from pictofs.link.messages import Look
from pictofs.tree import control
from pictofs.tree.attributes import newest_ns, told_apart_ns
from pictofs.tree.datasets import DatasetFolder
from pictofs.tree.facts import Attr, DirEntry, Entry
from pictofs.tree.ground import Ground
from pictofs.tree.need import Asked, Need
from pictofs.tree.place import Place, refuse
from pictofs.tree.xattrs import of_organization

FALLBACK_NAME = "organization"


@dataclass(frozen=True, slots=True)
class Root:
    """One account of the mount: its organization, and the `organization` setting ("" where there is none)."""

    organization: int
    directory_name: str = ""


def settle_roots(reader: CatalogReader, roots: Iterable[Root]) -> dict[str, int]:
    """Folder name → organization, in the order of the accounts.

    The setting, else slug, else name, else "organization"; of two alike the later carries a mark. Two keys of
    one organization are one folder.
    """
    rows: dict[int, tuple[str, OrganizationRow | None]] = {}
    for root in roots:
        if root.organization not in rows:
            row = reader.organization(root.organization)
            rows[root.organization] = (_plain(root.directory_name, row), row)
    wanted = [
        (str(pk), names.encode(plain), names.tag(row.remote_id if row else "", pk))
        for pk, (plain, row) in rows.items()
    ]
    return {name: int(pk) for pk, name in names.settle(wanted, {control.NAME}).items()}


def _plain(setting: str, row: OrganizationRow | None) -> str:
    return setting or (row.slug or row.name if row else "") or FALLBACK_NAME


class RootFolder(Place):
    """`/`: the organizations. `.pictofs` is found and not listed. No name here ever costs a request."""

    def __init__(
        self,
        ground: Ground,
        organizations: dict[str, int],
        folders: OrganizationFolder,
        controls: control.Control,
        started_ns: int,
    ) -> None:
        self._ground = ground
        self._organizations = organizations
        self._folders = folders
        self._controls = controls
        self._started_ns = started_ns

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """An organization, or the control folder."""
        ttl_s = self._ground.settings.ttl_s
        if name == control.NAME:
            return Entry(self._controls.attr(), ttl_s)
        pk = self._organizations.get(name)
        return Entry(None if pk is None else self._folders.attr_as_known(pk), ttl_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """What stands here changes with the mount only."""
        return self._ground.attributes.directory(
            ROOT_NODE, self._started_ns, self._ground.settings.ttl_s, len(self._organizations)
        )

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The organizations."""
        entries = []
        for name, pk in self._organizations.items():
            attr = self._folders.attr_as_known(pk)
            entries.append(DirEntry(name, attr.node, attr.ino, attr.mode, attr.node, attr))
        passed = [place for place, entry in enumerate(entries) if entry.cookie == cookie]
        return entries[passed[0] + 1 if passed else 0 :][:limit]


class OrganizationFolder(Place):
    """The datasets of an organization; slug and id of one resolve too, hidden."""

    def __init__(self, ground: Ground, datasets: DatasetFolder) -> None:
        self._ground = ground
        self._datasets = datasets

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """A known dataset costs a look at itself once its age is over `ttl`; an unknown name, at the list."""
        row = self._named(node_pk(node), name)
        if row is not None:
            row, valid_s = self._ground.looked_dataset(row.pk, asked)
            return Entry(self._datasets.attr(row, valid_s), valid_s)
        return Entry(None, self._listed(node, asked))

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The mtime moves with the list of datasets."""
        valid_s = self._listed(node, asked)
        return self._attr(node_pk(node), valid_s)

    def attr_as_known(self, organization: int) -> Attr:
        """Without a look: valid for no time where one is due."""
        row = self._row(organization)
        node = node_id(organization, Kind.ORGANIZATION)
        return self._attr(organization, self._ground.freshness.left_s(row.checked_ns, node))

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The datasets by folder name."""
        after = ""
        if cookie == 0:
            self._listed(node, asked)
        else:
            row = self._ground.reader.dataset(node_pk(cookie))
            if row is None:
                refuse(errno.ESTALE)
            after = row.file_name
        entries: list[DirEntry] = []
        for row in self._rows(node_pk(node)):
            if row.file_name > after and len(entries) < limit:
                child = node_id(row.pk, Kind.DATASET)
                attr = self._datasets.attr(row, self._ground.freshness.left_s(row.checked_ns, child))
                entries.append(DirEntry(row.file_name, child, child, attr.mode, child, attr))
        return entries

    def xattrs(self, node: int) -> dict[str, str]:
        """What the service calls it."""
        return of_organization(self._row(node_pk(node)))

    def organization(self, node: int) -> int:
        """Itself."""
        return node_pk(node)

    def _listed(self, node: int, asked: Asked) -> float:
        row = self._row(node_pk(node))
        if row.checked_ns:
            return self._ground.freshness.require(node, row.checked_ns, asked, known=True)
        if asked.looked(node):
            refuse(errno.EIO)       # a list that could not be had is not an empty one
        raise Need(Look(0, node))

    def _attr(self, organization: int, valid_s: float) -> Attr:
        rows = self._rows(organization)
        newest = newest_ns(row.created_ns for row in rows)
        mtime_ns = told_apart_ns(newest, *(f"{row.pk} {row.file_name}" for row in rows))
        return self._ground.attributes.directory(
            node_id(organization, Kind.ORGANIZATION), mtime_ns, valid_s, len(rows)
        )

    def _rows(self, organization: int) -> list[DatasetRow]:
        return self._ground.reader.datasets(organization, self._ground.settings.archived == "show")

    def _named(self, organization: int, name: str) -> DatasetRow | None:
        row = self._ground.reader.dataset_named(organization, name)
        if row is not None and row.archived and self._ground.settings.archived != "show":
            return None
        return row

    def _row(self, pk: int) -> OrganizationRow:
        row = self._ground.reader.organization(pk)
        if row is None:
            refuse(errno.ESTALE)
        return row
