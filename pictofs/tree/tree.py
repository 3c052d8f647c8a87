"""`Tree`: what stands on the mount, answered from the catalog alone.

Stateless: a node id says by itself what it is (its kind and the catalog's row), so a serving process that was
started a moment ago understands every id that the kernel still holds. What is kept is memory of answers only.
Every operation is synchronous and short; where the catalog lacks something or is too old it raises Need.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import ROOT_NODE, BlockRow, Kind, node_id
from pictofs.config import Settings
from pictofs.names import LIMIT_BYTES
from pictofs.tree.archives import ArchiveDirectory, MemberFile
from pictofs.tree.attributes import Attributes
from pictofs.tree.control import Control, ControlFile
from pictofs.tree.datasets import Children, DatasetDocument, DatasetFolder
from pictofs.tree.exports import ExportFile, ExportsDirectory, ExportStatus
from pictofs.tree.facts import Attr, DirEntry, Entry, File, Statfs
from pictofs.tree.freshness import Freshness
from pictofs.tree.ground import Ground
from pictofs.tree.media import AnnotationFile, AnnotationsDirectory, ImageFile, ImagesDirectory
from pictofs.tree.need import NOTHING_ASKED, Asked
from pictofs.tree.organizations import OrganizationFolder, Root, RootFolder, settle_roots
from pictofs.tree.place import Place, refuse
from pictofs.tree.views import Link, ViewFolder, ViewMedia, ViewsDirectory
from pictofs.tree.xattrs import PREFIX

STATFS_BLOCK_BYTES = 4096


class Tree:
    """The nodes of one mount. For one thread at a time, as its reader is.

    `roots` are the mount's accounts in order. `wall_ns` is the clock of the catalog's times, `clock` a
    monotonic one in seconds. Operations take `asked`, what this operation has been told so far, and
    raise Need, OSError or a PictofsError.
    """

    def __init__(
        self,
        reader: CatalogReader,
        roots: Sequence[Root],
        settings: Settings,
        *,
        uid: int | None = None,
        gid: int | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        uid = settings.uid if settings.uid is not None else uid if uid is not None else os.getuid()
        gid = settings.gid if settings.gid is not None else gid if gid is not None else os.getgid()
        attributes = Attributes(uid, gid, settings.umask)
        self.settings = settings
        self.freshness = Freshness(settings.ttl_s, wall_ns, clock)
        self._ground = Ground(reader, settings, attributes, self.freshness)
        self._organizations = settle_roots(reader, roots)
        self._control = Control(attributes, wall_ns, settings.ttl_s, fixed=settings.overlay is not None)
        places = self._plant(wall_ns())
        self._root: Place = places[Kind.ROOT]
        # by the low byte of a node id: an enum's own lookup costs more than all else that leads to a place
        self._by_kind: list[Place | None] = [None] * 256
        for kind, place in places.items():
            self._by_kind[kind] = place

    # what the kernel asks

    def lookup(self, parent: int, name: str, asked: Asked = NOTHING_ASKED) -> Entry:
        """The entry of `name`; `attr` None is a name that does not exist, said by a complete listing only."""
        if not name.isascii() or len(name) > LIMIT_BYTES:
            try:
                if len(name.encode()) > LIMIT_BYTES:
                    refuse(errno.ENAMETOOLONG)
            except UnicodeEncodeError:
                return Entry(None, self.settings.ttl_s)    # not UTF-8: no name of ours
        return self._place(parent).lookup(parent, name, asked)

    def getattr(self, node: int, asked: Asked = NOTHING_ASKED) -> Attr:
        """The attributes, the size exact."""
        return self._place(node).getattr(node, asked)

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked = NOTHING_ASKED) -> list[DirEntry]:
        """At most `limit` entries behind `cookie`, from a complete listing; empty at the end."""
        return self._place(node).readdir(node, cookie, limit, asked)

    def names(self, node: int, cookie: int, limit: int, asked: Asked = NOTHING_ASKED) -> list[DirEntry]:
        """The same, perhaps without attributes: for who asks for names alone."""
        return self._place(node).names(node, cookie, limit, asked)

    def readlink(self, node: int) -> bytes:
        """The target of a symbolic link."""
        return self._place(node).readlink(node)

    def file(self, node: int, asked: Asked = NOTHING_ASKED) -> File:
        """What reading the file needs to know."""
        return self._place(node).file(node, asked)

    def xattrs(self, node: int) -> dict[str, bytes]:
        """Full name → value of every extended attribute that has one."""
        found = self._place(node).xattrs(node)
        return {PREFIX + name: value.encode("utf-8", "surrogateescape") for name, value in found.items()}

    def statfs(self) -> Statfs:
        """The bytes and files of all organizations."""
        totals = [self._ground.reader.totals(pk) for pk in self._organizations.values()]
        blocks = -(-sum(t.size_bytes for t in totals) // STATFS_BLOCK_BYTES)
        return Statfs(STATFS_BLOCK_BYTES, blocks, sum(t.files for t in totals))

    def parent(self, directory: int) -> int:
        """The node of `..`; the root for what is no directory or no more."""
        try:
            return self._place(directory).parent(directory)
        except OSError:
            return ROOT_NODE

    # what reading asks

    def block(self, node: int, block: int) -> BlockRow | None:
        """That block, if it is whole in the store, or was a moment ago."""
        return self._ground.block(node, block)

    def block_now(self, node: int, block: int) -> BlockRow | None:
        """That block, as the catalog knows it now."""
        return self._ground.reader.block(node, block)

    def joined(self, node: int) -> BlockRow | None:
        """The one file in which all of an object of many blocks lies, if they were joined."""
        return self._ground.reader.joined(node)

    def whole(self, node: int, size_bytes: int) -> bool:
        """Is every block of the file in the store?"""
        return self._ground.reader.whole(node, size_bytes)

    def boot(self, boot_id: str) -> int | None:
        """The catalog's index of this boot; None before anything was written in it."""
        return self._ground.reader.boot(boot_id)

    def rendered(self, node: int) -> bool:
        """Is it a control file?"""
        return node & 0xFF == Kind.CONTROL

    # what is around it

    @property
    def organizations(self) -> dict[str, int]:
        """Folder name at the root → pk of the organization."""
        return self._organizations

    def organization_of(self, node: int) -> int:
        """The organization that a node belongs to; 0 for the root and the control files."""
        return self._place(node).organization(node)

    def image_counts(self) -> list[tuple[str, int, int]]:
        """(dataset's folder, images, of these whole in the store) of all organizations."""
        return [
            (row.file_name, row.images, row.cached)
            for pk in self._organizations.values()
            for row in self._ground.reader.image_counts(pk)
        ]

    def offer_control(self, files: list[ControlFile]) -> None:
        """The files of `.pictofs`."""
        self._control.offer(files)

    def changed(self) -> None:
        """The catalog is known to say something else than before."""
        self._ground.changed()

    def reopen_replaced(self) -> bool:
        """Reads the new catalog where the old one was damaged and begun anew; old nodes are ESTALE then."""
        reader = self._ground.reader
        if not reader.replaced():
            return False
        self._ground.replace_reader(type(reader).open(reader.path))
        return True

    def close(self) -> None:
        """Closes the reader."""
        self._ground.reader.close()

    def _place(self, node: int) -> Place:
        place = self._root if node == ROOT_NODE else self._by_kind[node & 0xFF]
        if place is None:
            refuse(errno.ESTALE)
        return place

    def _plant(self, started_ns: int) -> dict[Kind, Place]:
        ground = self._ground
        images, annotations = ImageFile(ground), AnnotationFile(ground)
        image_directory = ImagesDirectory(ground, images)
        annotation_directory = AnnotationsDirectory(ground, annotations)
        archives, statuses = ExportFile(ground), ExportStatus(ground)
        members = MemberFile(ground)
        opened = ArchiveDirectory(ground, members)
        exports = ExportsDirectory(ground, archives, statuses, opened)
        splits = ViewsDirectory(ground, Kind.SPLITS, "split")
        values = ViewsDirectory(ground, Kind.STATUSES, "status")
        image_links = Link(ground, Kind.IMAGE_LINK, "images")
        annotation_links = Link(ground, Kind.ANNOTATION_LINK, "annotations")
        document = DatasetDocument(ground)
        children: Children = {
            "dataset.json": document.attr_as_known,
            "images": lambda row: image_directory.attr_as_known(row.root_directory),
            "annotations": lambda row: annotation_directory.attr_as_known(row.root_directory),
            "exports": lambda row: exports.attr_as_known(row.pk),
            "splits": lambda row: splits.attr_as_known(row.pk),
            "status": lambda row: values.attr_as_known(row.pk),
        }
        datasets = DatasetFolder(ground, children)
        organizations = OrganizationFolder(ground, datasets)
        return {
            Kind.ROOT: RootFolder(ground, self._organizations, organizations, self._control, started_ns),
            Kind.ORGANIZATION: organizations,
            Kind.DATASET: datasets,
            Kind.DATASET_JSON: document,
            Kind.IMAGES: image_directory,
            Kind.ANNOTATIONS: annotation_directory,
            Kind.EXPORTS: exports,
            Kind.SPLITS: splits,
            Kind.STATUSES: values,
            Kind.VIEW: ViewFolder(ground),
            Kind.VIEW_IMAGES: ViewMedia(ground, Kind.VIEW_IMAGES, image_links),
            Kind.VIEW_ANNOTATIONS: ViewMedia(ground, Kind.VIEW_ANNOTATIONS, annotation_links),
            Kind.IMAGE_LINK: image_links,
            Kind.ANNOTATION_LINK: annotation_links,
            Kind.IMAGE: images,
            Kind.ANNOTATION: annotations,
            Kind.EXPORT: archives,
            Kind.EXPORT_STATUS: statuses,
            Kind.EXPORT_OPENED: opened,
            Kind.MEMBER: members,
            Kind.MEMBER_DIRECTORY: opened,
            Kind.CONTROL: self._control,
        }


def organization_node(organization: int) -> int:
    """The node of an organization's folder."""
    return node_id(organization, Kind.ORGANIZATION)
