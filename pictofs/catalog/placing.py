"""Where images stand: directories made as images name them, names claimed against what is there.

A directory keeps its plain name against an image whose name is still provisional; against one whose name a
complete listing has seen, the directory is the one that is marked.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import unpack_id
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.writing import Writing, image_entries

_CHUNK_BITS = 16
_MOST_DIRECTORIES_KEPT = 100_000
ENTRIES, TALLIES = 1, 2  # the bits of `directory.dirty`
_IS_DIRECTORY = "SELECT 1 FROM directory WHERE parent = ? AND parent > 0 AND file_name = ?"


class Seen:
    """A set of inos at one bit each, in chunks: a million images are 125 KB."""

    def __init__(self) -> None:
        self._chunks: dict[int, bytearray] = {}
        self.count = 0

    def add(self, ino: int) -> None:
        """Adds one; again is nothing."""
        chunk = self._chunks.get(ino >> _CHUNK_BITS)
        if chunk is None:
            chunk = self._chunks[ino >> _CHUNK_BITS] = bytearray(1 << _CHUNK_BITS - 3)
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
    relisted: bool  # a complete listing is in force: additions make remembered absences untrue
    settled_pk: int  # images with a later ino have provisional names
    seen: Seen = field(default_factory=Seen)
    renamed: set[int] = field(default_factory=set)  # inos that this listing gave another name
    directories: dict[str, int] = field(default_factory=dict)
    dirty: dict[int, int] = field(default_factory=dict)  # what `dirty` of these directories holds at least
    tallies: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def provisional(self, ino: int) -> bool:
        """Whether the name of that object may still change when this listing ends."""
        return ino > self.settled_pk or ino in self.renamed


class Placing(Writing):
    """Names and directories during a listing; inside a transaction of the caller."""

    def __init__(self, path: str, db: sqlite3.Connection, clock_s: Callable[[], float] = time.time) -> None:
        super().__init__(path, db, clock_s)
        self._listings: dict[int, Listing] = {}

    def _directory_for(
        self, listing: Listing, components: tuple[str, ...], now_ns: int, change: Change
    ) -> int:
        """The directory at these encoded components, made where it is missing."""
        if not components:
            return listing.root
        path = "/" + "/".join(components)
        pk = listing.directories.get(path)
        if pk is None:
            row = self._row(
                "SELECT pk FROM directory WHERE dataset = ? AND path = ?", (listing.dataset, path)
            )
            if row is not None:
                pk = int(row[0])
            else:
                parent = self._directory_for(listing, components[:-1], now_ns, change)
                pk = self._make_directory(listing, parent, path, now_ns, change)
            if len(listing.directories) > _MOST_DIRECTORIES_KEPT:
                listing.directories.clear()
            listing.directories[path] = pk
        return pk

    def _make_directory(self, listing: Listing, parent: int, path: str, now_ns: int, change: Change) -> int:
        yielding: set[int] = set()

        def is_taken(name: str) -> bool:
            """By a directory, or by an image whose name is for good; others yield."""
            yielding.clear()
            if self._row(_IS_DIRECTORY, (parent, name)):
                return True
            for column in ("file_name", "annotation_name"):
                sql = f"SELECT pk, ifnull(ino, pk) FROM image WHERE directory = ? AND {column} = ?"
                for pk, ino in self._rows(sql, (parent, name)):
                    if not listing.provisional(ino):
                        return True
                    yielding.add(pk)
            return False

        file_name = naming.claim(path.rpartition("/")[2], names.tag("", "directory", path), is_taken)
        pk = self._insert(
            "INSERT INTO directory (dataset, parent, file_name, path, mtime_ns) VALUES (?, ?, ?, ?, ?)",
            (listing.dataset, parent, file_name, path, now_ns),
        )
        self._run("UPDATE directory SET subdirectories = subdirectories + 1 WHERE pk = ?", (parent,))
        self._soil(listing, parent, ENTRIES)
        for image in sorted(yielding):
            self._place(listing, image, None, None, change)
        if listing.relisted:
            change.entries += [(node_id(parent, kind), file_name) for kind in (Kind.IMAGES, Kind.ANNOTATIONS)]
        return pk

    def _place(
        self, listing: Listing, pk: int, directory: int | None, plain: str | None, change: Change
    ) -> None:
        """Gives an image the best names that are free now in `directory` for `plain` (None: what it has)."""
        dataset, old_directory, old_file, old_annotation, identity, old_plain, status, split = self._rows(
            "SELECT dataset, directory, file_name, annotation_name, identity, plain, status, split "
            "FROM image WHERE pk = ?",
            (pk,),
        )[0]
        directory = directory or old_directory
        plain = plain or old_plain or old_file
        mark = mark_of(identity)
        # Out of its own way: a name with a slash is nobody's, and nobody sees it before the transaction ends.
        self._run("UPDATE image SET file_name = ?1, annotation_name = ?1 WHERE pk = ?2", (f"/{pk}", pk))
        file_name = naming.claim(plain, mark, lambda name: self._is_taken(directory, "file_name", name))
        annotation = naming.annotation_name(
            file_name, mark, lambda name: self._is_taken(directory, "annotation_name", name)
        )
        self._run(
            "UPDATE image SET directory = ?, file_name = ?, annotation_name = ?, plain = ?, marks = ? WHERE "
            "pk = ?",
            (
                directory,
                file_name,
                annotation,
                plain if file_name != plain else None,
                marks_of(file_name, annotation, plain, mark),
                pk,
            ),
        )
        if directory != old_directory:
            self._run("UPDATE directory SET images = images - 1 WHERE pk = ?", (old_directory,))
            self._run("UPDATE directory SET images = images + 1 WHERE pk = ?", (directory,))
        for at, file, json in ((old_directory, old_file, old_annotation), (directory, file_name, annotation)):
            change.entries += image_entries(at, file, json)
            change.entries += self._view_entries(dataset, at, file, json, status, split)
            self._soil(listing, at, ENTRIES)
        change.nodes += link_nodes(pk)

    def _is_taken(self, directory: int, column: str, name: str) -> bool:
        image = f"SELECT 1 FROM image WHERE directory = ? AND {column} = ?"
        return bool(self._row(image, (directory, name)) or self._row(_IS_DIRECTORY, (directory, name)))

    def _soil(self, listing: Listing, directory: int, bits: int) -> None:
        """Notes on disk what of a directory changed, for when a listing is complete."""
        had = listing.dirty.get(directory, 0)
        if bits & ~had:
            if len(listing.dirty) > _MOST_DIRECTORIES_KEPT:
                listing.dirty.clear()
            listing.dirty[directory] = had | bits
            self._run("UPDATE directory SET dirty = dirty | ? WHERE pk = ?", (bits, directory))

    def _view_entries(
        self,
        dataset: int,
        directory: int,
        file_name: str,
        annotation_name: str,
        status: int | None,
        split: int | None,
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

    def _count(
        self, listing: Listing, directory: int, status: int | None, split: int | None, by: int
    ) -> None:
        """Notes for `_flush_tallies` that so many images more of a directory have these values."""
        for number, word in ((1, split), (2, status)):
            if word is not None:
                key = (directory, number, word)
                listing.tallies[key] = listing.tallies.get(key, 0) + by

    def _flush_tallies(self, listing: Listing) -> None:
        """Writes what the transaction counted."""
        rows = [(*key, by) for key, by in listing.tallies.items() if by]
        listing.tallies.clear()
        for directory in {row[0] for row in rows}:
            self._soil(listing, directory, TALLIES)
        self._run_many(
            "INSERT INTO tally VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET images = images + excluded.images",
            rows,
        )


def marks_of(file_name: str, annotation_name: str, plain: str, mark: str) -> int:
    """The `marks` column of an image that wanted `plain`."""
    return (file_name != plain) | (annotation_name != naming.annotation_plain(file_name, mark)) << 1


def mark_of(identity: bytes | str) -> str:
    """The mark of an object: eight digits of its id, else of the hash that stands for one."""
    if isinstance(identity, bytes) and len(identity) != 16:
        return f"~{identity[1:5].hex()}"
    return names.tag(unpack_id(identity))


def link_nodes(pk: int) -> list[int]:
    """The nodes of an image's symbolic links: their targets hold its name."""
    return [node_id(pk, Kind.IMAGE_LINK), node_id(pk, Kind.ANNOTATION_LINK)]
