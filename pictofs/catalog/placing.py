"""Where images stand: directories made as images name them, names claimed against what is there.

A directory keeps its plain name against an image whose name is still provisional; against one whose name a
complete listing has seen, the directory is the one that is marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import unpack_id
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.writing import Writing, image_entries

_CHUNK_BITS = 16


class Seen:
    """A set of inos at one bit each, in chunks: a million images are 125 KB."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}
        self.count = 0

    def add(self, ino: int) -> None:
        """Adds one; again is nothing."""
        chunk = self._chunks.setdefault(ino >> _CHUNK_BITS, bytearray(1 << _CHUNK_BITS - 3))
        byte, bit = (ino & 0xFFFF) >> 3, 1 << (ino & 7)
        if not chunk[byte] & bit:
            chunk[byte] |= bit
            self.count += 1

    def __contains__(self, ino: int) -> bool:
        chunk = self._chunks.get(ino >> _CHUNK_BITS)
        return chunk is not None and bool(chunk[(ino & 0xFFFF) >> 3] & 1 << (ino & 7))


@dataclass(slots=True)
class Listing:
    """A listing under way; lives in the writer's memory, since an interrupted one is begun again."""

    dataset: int
    generation: int
    root: int
    relisted: bool                 # a complete listing is in force: additions make remembered absences untrue
    settled_pk: int                # images with a later ino have provisional names
    seen: Seen = field(default_factory=Seen)
    renamed: set[int] = field(default_factory=set)          # inos that this listing gave another name
    directories: dict[str, int] = field(default_factory=dict)
    dirty: dict[int, int] = field(default_factory=dict)     # what `dirty` of these directories holds
    tallies: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def provisional(self, ino: int) -> bool:
        """Whether the name of that object may still change when this listing ends."""
        return ino > self.settled_pk or ino in self.renamed


class Placing(Writing):
    """Names and directories during a listing; inside a transaction of the caller."""

    def _directory_for(self, listing: Listing, components: tuple[str, ...], change: Change, now_ns: int) -> int:
        """The directory at these encoded components, made where it is missing."""
        path = "/" + "/".join(components)
        pk = listing.directories.get(path)
        if pk is not None:
            return pk
        if not components:
            return listing.root
        row = self._row("SELECT pk FROM directory WHERE dataset = ? AND path = ?", (listing.dataset, path))
        if row is not None:
            pk = int(row[0])
        else:
            parent = self._directory_for(listing, components[:-1], change, now_ns)
            pk = self._make_directory(listing, parent, components[-1], path, change, now_ns)
        if len(listing.directories) > 100_000:
            listing.directories.clear()
        listing.directories[path] = pk
        return pk

    def _make_directory(
        self, listing: Listing, parent: int, component: str, path: str, change: Change, now_ns: int
    ) -> int:
        mark = names.tag("", "directory", path)
        kept: list[tuple[int, int]] = []

        def is_taken(name: str) -> bool:
            if self._row("SELECT 1 FROM directory WHERE parent = ? AND parent > 0 AND file_name = ?", (parent, name)):
                return True
            holders = [
                (pk, ino)
                for column in ("file_name", "annotation_name")
                for pk, ino in self._rows(
                    f"SELECT pk, ifnull(ino, pk) FROM image WHERE directory = ? AND {column} = ?", (parent, name)
                )
            ]
            if any(not listing.provisional(ino) for _, ino in holders):
                return True
            kept[:] = holders
            return False

        file_name = naming.claim(component, mark, is_taken)
        pk = self._insert(
            "INSERT INTO directory (dataset, parent, file_name, path, mtime_ns, dirty) VALUES (?, ?, ?, ?, ?, 1)",
            (listing.dataset, parent, file_name, path, now_ns),
        )
        self._run("UPDATE directory SET subdirectories = subdirectories + 1 WHERE pk = ?", (parent,))
        self._soil(listing, parent)
        for image, _ in dict.fromkeys(kept):
            self._rename(listing, image, change)
        if listing.relisted:
            change.entries += [(node_id(parent, kind), file_name) for kind in (Kind.IMAGES, Kind.ANNOTATIONS)]
        return pk

    def _rename(self, listing: Listing, pk: int, change: Change) -> None:
        """Gives a provisional image the best name that is free now."""
        row = self._rows(
            "SELECT dataset, directory, file_name, annotation_name, identity, plain, status, split FROM image WHERE pk = ?", (pk,)
        )[0]
        dataset, directory, old_file, old_annotation, identity, plain, status, split = row
        plain = plain or old_file
        mark = mark_of(identity)
        self._run("UPDATE image SET file_name = ?1, annotation_name = ?1 WHERE pk = ?2", (f"/{pk}", pk))
        file_name, annotation_name, marks = self._claim(directory, plain, mark)
        self._run(
            "UPDATE image SET file_name = ?, annotation_name = ?, plain = ?, marks = ? WHERE pk = ?",
            (file_name, annotation_name, plain if file_name != plain else None, marks, pk),
        )
        if file_name != old_file:
            change.nodes += [node_id(pk, Kind.IMAGE_LINK), node_id(pk, Kind.ANNOTATION_LINK)]
        for pair in ((old_file, old_annotation), (file_name, annotation_name)):
            change.entries += image_entries(directory, *pair)
            change.entries += self._view_entries(dataset, directory, *pair, status, split)
        self._soil(listing, directory)

    def _claim(self, directory: int, plain: str, mark: str) -> tuple[str, str, int]:
        """(file name, annotation name, marks) that are free in `directory`."""
        file_name = naming.claim(plain, mark, lambda name: self._is_taken(directory, "file_name", name))
        annotation_name = naming.annotation_name(
            file_name, mark, lambda name: self._is_taken(directory, "annotation_name", name)
        )
        return file_name, annotation_name, marks_of(file_name, annotation_name, plain, mark)

    def _is_taken(self, directory: int, column: str, name: str) -> bool:
        return bool(
            self._row(f"SELECT 1 FROM image WHERE directory = ? AND {column} = ?", (directory, name))
            or self._row("SELECT 1 FROM directory WHERE parent = ? AND parent > 0 AND file_name = ?", (directory, name))
        )

    def _soil(self, listing: Listing, directory: int, bits: int = 1) -> None:
        """Notes, on disk, that a directory's entries (1) or tallies (2) changed: for when a listing is complete."""
        had = listing.dirty.get(directory, 0)
        if bits & ~had:
            listing.dirty[directory] = had | bits
            self._run("UPDATE directory SET dirty = dirty | ? WHERE pk = ?", (bits, directory))

    def _view_entries(
        self, dataset: int, directory: int, file_name: str, annotation_name: str, status: int | None, split: int | None
    ) -> list[tuple[int, str]]:
        """Where an image stands by reference."""
        if status is None and split is None:
            return []
        rows = self._rows(
            "SELECT vd.pk FROM view v JOIN view_directory vd ON vd.view = v.pk AND vd.directory = ? "
            "WHERE v.dataset = ? AND (v.field, v.word) IN ((1, ?), (2, ?))",
            (directory, dataset, split, status),
        )
        entries: list[tuple[int, str]] = []
        for (pk,) in rows:
            entries.append((node_id(pk, Kind.VIEW_IMAGES), file_name))
            entries.append((node_id(pk, Kind.VIEW_ANNOTATIONS), annotation_name))
        return entries


def marks_of(file_name: str, annotation_name: str, plain: str, mark: str) -> int:
    """The `marks` column of an image that wanted `plain`."""
    return (file_name != plain) | (annotation_name != naming.annotation_plain(file_name, mark)) << 1


def mark_of(identity: bytes | str) -> str:
    """The mark of an object: eight digits of its id, else of the hash that stands for it."""
    remote_id = unpack_id(identity)
    return names.tag(remote_id) if remote_id else f"~{bytes(identity)[1:5].hex()}"  # type: ignore[arg-type]


def padded(values: Sequence[object], size: int) -> list[object]:
    """`values` repeated to `size`, so that one prepared statement serves every page."""
    return [*values, *[values[-1]] * (size - len(values))]
