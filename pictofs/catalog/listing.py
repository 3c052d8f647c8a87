"""Listings of images: begun, filled page by page, finished.

A page is one transaction and visible at once. What a listing has not seen is removed when it is finished,
and never before: a listing that is interrupted leaves everything that the last complete one said. Which
objects it saw is kept in memory, one bit each, so an unchanged image costs a comparison and no write.

A name is provisional until the listing that gave it is complete; see `settling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import identity, pack_directory, pack_tags
from pictofs.catalog.connected import Row
from pictofs.catalog.model import Change, ImageFacts, Kind, node_id
from pictofs.catalog.placing import Listing, mark_of, marks_of, padded
from pictofs.catalog.settling import Settling
from pictofs.catalog.views import ViewWrites
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, image_entries

_KNOWN = (
    "SELECT i.identity, i.pk, ifnull(i.ino, i.pk), i.directory, i.file_name, i.annotation_name, i.plain, i.size, "
    "i.created_ns, i.status, i.split, i.width, i.height, i.annotation_count, i.tags, i.annotation "
    "FROM image i WHERE i.dataset = ? AND i.directory IS NOT NULL AND i.identity"
)
_INSERT = (
    "INSERT INTO image (pk, ino, dataset, directory, file_name, annotation_name, identity, plain, size, created_ns, "
    "status, split, width, height, annotation_count, tags, annotation, marks) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SCAN = 4000


class ListingWrites(Settling, ViewWrites):
    """What the fetching process does with the pages of a listing."""

    def begin_listing(self, dataset: int) -> int:
        """Begins a listing and returns its generation; one that was under way for this dataset is forgotten."""
        with self._transaction():
            row = self._row(
                "UPDATE dataset SET listing_generation = listing_generation + 1 WHERE pk = ? "
                "RETURNING listing_generation, root_directory, listed_ns, settled_pk",
                (dataset,),
            )
        if row is None:
            raise LookupError(f"no dataset {dataset}")
        generation, root, listed_ns, settled_pk = row
        self._listings[dataset] = Listing(dataset, generation, root, bool(listed_ns), settled_pk)
        return int(generation)

    def put_images(self, dataset: int, generation: int, facts: Iterable[ImageFacts]) -> Change:
        """Takes over images that the service lists; each object once a listing where the service gives no ids.

        LookupError when the listing is not (or no longer) the one under way.
        """
        listing = self._listing(dataset, generation)
        change = Change()
        page: list[ImageFacts] = []
        try:
            for one in facts:
                page.append(one)
                if len(page) == ROWS_PER_TRANSACTION:
                    self._put_page(listing, page, change)
                    page = []
            if page:
                self._put_page(listing, page, change)
        except BaseException:
            self._listings.pop(dataset, None)  # what it saw in memory is no longer what is on disk
            raise
        return change

    def finish_listing(self, dataset: int, generation: int, fingerprint: str, now_ns: int) -> Change:
        """The listing is complete: what it has not seen is removed, names are settled, views rebuilt.

        Directories whose entries changed since the last complete listing get `now_ns` as their mtime.
        """
        listing = self._listing(dataset, generation)
        change = Change()
        try:
            self._remove_unseen(listing, change)
            self._remove_empty_directories(listing, change)
            self._settle(listing, change)
            self._rebuild_views(listing, now_ns, change)
            self._move_mtimes(dataset, now_ns, change)
            with self._transaction():
                self._run(
                    "UPDATE dataset SET listed_ns = ?1, listed_fingerprint = ?2, checked_ns = max(checked_ns, ?1), "
                    "settled_pk = (SELECT value - 1 FROM meta WHERE name = 'next_pk') WHERE pk = ?3",
                    (now_ns, fingerprint, dataset),
                )
        finally:
            self._listings.pop(dataset, None)
        return change

    def touch_dataset(self, dataset: int, now_ns: int) -> None:
        """The service was asked about the dataset and said nothing new."""
        with self._transaction():
            self._run("UPDATE dataset SET checked_ns = ? WHERE pk = ?", (now_ns, dataset))

    def _listing(self, dataset: int, generation: int) -> Listing:
        listing = self._listings.get(dataset)
        if listing is None or listing.generation != generation:
            raise LookupError(f"listing {generation} of dataset {dataset} is not under way")
        return listing

    def _put_page(self, listing: Listing, facts: Sequence[ImageFacts], change: Change) -> None:
        now_ns = int(self._clock_s() * 1e9)
        with self._transaction():
            ordered = sorted(facts, key=lambda f: (f.created_ns, f.remote_id))
            keys: list[tuple[ImageFacts, tuple[str, ...], bytes | str]] = []
            for one in ordered:
                components = pack_directory(one.directory_path)
                keys.append((one, components, identity(one.remote_id, "/".join(components), one.remote_name, 0)))
            known = self._known(listing.dataset, [key for _, _, key in keys])
            new: dict[bytes | str, tuple[ImageFacts, int]] = {}
            for one, components, key in keys:
                directory = self._directory_for(listing, components, change, now_ns)
                row = known.get(key)
                if not one.remote_id:
                    key, row = self._next_ordinal(listing, one, components, key, row, new)
                if row is None:
                    new.setdefault(key, (one, directory))
                elif row[2] not in listing.seen:
                    listing.seen.add(row[2])
                    self._relist(listing, row, one, directory, change)
            if new:
                self._add(listing, new, change)
            self._flush_tallies(listing)

    def _known(self, dataset: int, keys: list[bytes | str]) -> dict[bytes | str, Row]:
        size = 1 if len(keys) == 1 else 32 if len(keys) <= 32 else ROWS_PER_TRANSACTION
        marks = ",".join("?" * size)
        return {row[0]: row for row in self._rows(f"{_KNOWN} IN ({marks})", (dataset, *padded(keys, size)))}

    def _next_ordinal(
        self,
        listing: Listing,
        one: ImageFacts,
        components: tuple[str, ...],
        key: bytes | str,
        row: Row | None,
        new: dict[bytes | str, Any],
    ) -> tuple[bytes | str, Row | None]:
        """Without an id the n-th image of a name is the n-th that this listing brings."""
        ordinal = 0
        while key in new or (row is not None and row[2] in listing.seen):
            ordinal += 1
            key = identity("", "/".join(components), one.remote_name, ordinal)
            row = self._row(f"{_KNOWN} = ?", (listing.dataset, key))
        return key, row

    def _relist(self, listing: Listing, row: Row, one: ImageFacts, directory: int, change: Change) -> None:
        """An object that is known: unchanged, changed in place, moved, or another version."""
        (
            _, pk, ino, old_directory, file_name, annotation_name, old_plain, size, created_ns, status, split,
            width, height, annotation_count, tags, _annotation,
        ) = row  # fmt: skip
        plain = names.encode(one.remote_name)
        facts = (
            size if one.size_bytes is None else one.size_bytes,
            one.created_ns or created_ns,
            self._intern(one.status),
            self._intern(one.split),
            one.width,
            one.height,
            one.annotation_count,
            self._intern(pack_tags(one.tags)),
        )
        moved = directory != old_directory or plain != (old_plain or file_name)
        if not moved and facts == (size, created_ns, status, split, width, height, annotation_count, tags):
            return
        if (status, split) != (facts[2], facts[3]) or moved:
            change.entries += self._view_entries(
                listing.dataset, old_directory, file_name, annotation_name, status, split
            )
        self._count(listing, old_directory, status, split, -1)
        if (one.size_bytes is not None and size is not None and size != one.size_bytes) or (
            one.created_ns and created_ns and one.created_ns != created_ns
        ):
            pk = self._supersede(pk, facts[0], facts[1])
            change.entries += image_entries(old_directory, file_name, annotation_name)
        elif created_ns != facts[1] or size != facts[0]:
            change.nodes.append(node_id(pk, Kind.IMAGE))
            self._add_bytes(listing.dataset, (facts[0] or 0) - (size or 0))
        self._run(
            "UPDATE image SET size = ?, created_ns = ?, status = ?, split = ?, width = ?, height = ?, "
            "annotation_count = ?, tags = ? WHERE pk = ?",
            (*facts, pk),
        )
        if moved:
            listing.renamed.add(ino)
            change.entries += image_entries(old_directory, file_name, annotation_name)
            self._soil(listing, old_directory)
            self._run(
                "UPDATE image SET directory = ?1, plain = ?2, file_name = ?3, annotation_name = ?3 WHERE pk = ?4",
                (directory, plain, f"/{pk}", pk),
            )
            if directory != old_directory:
                self._run("UPDATE directory SET images = images - 1 WHERE pk = ?", (old_directory,))
                self._run("UPDATE directory SET images = images + 1 WHERE pk = ?", (directory,))
            self._rename(listing, pk, change)
        elif (status, split) != (facts[2], facts[3]):
            change.entries += self._view_entries(
                listing.dataset, directory, file_name, annotation_name, facts[2], facts[3]
            )
        self._count(listing, directory, facts[2], facts[3], 1)

    def _add(self, listing: Listing, new: dict[bytes | str, tuple[ImageFacts, int]], change: Change) -> None:
        """Objects seen for the first time."""
        wanted: dict[int, list[str]] = {}
        for one, directory in new.values():
            wanted.setdefault(directory, []).append(names.encode(one.remote_name))
        taken = {directory: self._taken(directory, plains) for directory, plains in wanted.items()}
        pk = self._draw(len(new))
        rows: list[tuple[object, ...]] = []
        known_bytes = 0
        for key, (one, directory) in new.items():
            plain = names.encode(one.remote_name)
            mark = mark_of(key)
            files, annotations = taken[directory]
            file_name = names.fit(plain, mark)
            if file_name in files or file_name != plain:
                file_name = naming.claim(
                    plain, mark, lambda name, d=directory, f=files: name in f or self._is_taken(d, "file_name", name)  # type: ignore[misc]
                )
            annotation = naming.annotation_plain(file_name, mark)
            if annotation in annotations or file_name != plain:
                annotation = naming.annotation_name(
                    file_name,
                    mark,
                    lambda name, d=directory, a=annotations: name in a or self._is_taken(d, "annotation_name", name),  # type: ignore[misc]
                )
            files.add(file_name)
            annotations.add(annotation)
            status, split = self._intern(one.status), self._intern(one.split)
            rows.append((
                pk, None, listing.dataset, directory, file_name, annotation, key, plain if plain != file_name else None,
                one.size_bytes, one.created_ns, status, split, one.width, one.height, one.annotation_count,
                self._intern(pack_tags(one.tags)), None, marks_of(file_name, annotation, plain, mark),
            ))  # fmt: skip
            listing.seen.add(pk)
            known_bytes += one.size_bytes or 0
            self._count(listing, directory, status, split, 1)
            if listing.relisted:
                change.entries += image_entries(directory, file_name, annotation)
                change.entries += self._view_entries(listing.dataset, directory, file_name, annotation, status, split)
            pk += 1
        self._run_many(_INSERT, rows)
        for directory, count in Counter(directory for _, directory in new.values()).items():
            self._run("UPDATE directory SET images = images + ? WHERE pk = ?", (count, directory))
            self._soil(listing, directory)
        self._run(
            "UPDATE dataset_count SET images = images + ?, known_bytes = known_bytes + ? WHERE dataset = ?",
            (len(rows), known_bytes, listing.dataset),
        )

    def _taken(self, directory: int, plains: list[str]) -> tuple[set[str], set[str]]:
        """Which of these plain names, and of the annotation names that go with them, a directory holds already."""
        annotations = [f"{names.split_extension(plain)[0]}.json" for plain in plains]
        row = self._row("SELECT images > 0, subdirectories > 0 FROM directory WHERE pk = ?", (directory,))
        files: set[str] = set()
        jsons: set[str] = set()
        if row is not None and row[0]:
            files |= self._among("SELECT file_name FROM image WHERE directory = ? AND file_name", directory, plains)
            jsons |= self._among(
                "SELECT annotation_name FROM image WHERE directory = ? AND annotation_name", directory, annotations
            )
        if row is not None and row[1]:
            sql = "SELECT file_name FROM directory WHERE parent = ? AND parent > 0 AND file_name"
            files |= self._among(sql, directory, plains)
            jsons |= self._among(sql, directory, annotations)
        return files, jsons

    def _among(self, sql: str, directory: int, wanted: list[str]) -> set[str]:
        size = 1 if len(wanted) == 1 else 32 if len(wanted) <= 32 else ROWS_PER_TRANSACTION
        marks = ",".join("?" * size)
        return {name for (name,) in self._rows(f"{sql} IN ({marks})", (directory, *padded(wanted, size)))}

    def _remove_unseen(self, listing: Listing, change: Change) -> None:
        count = self._value("SELECT images FROM dataset_count WHERE dataset = ?", (listing.dataset,))
        if count == listing.seen.count:
            return
        after: Any = -1  # an integer is before every text and blob
        while True:
            rows = self._rows(
                "SELECT identity, pk, ifnull(ino, pk) FROM image INDEXED BY image_identity WHERE dataset = ? "
                "AND directory IS NOT NULL AND identity > ? ORDER BY identity LIMIT ?",
                (listing.dataset, after, _SCAN),
            )
            unseen = [pk for _, pk, ino in rows if ino not in listing.seen]
            for start in range(0, len(unseen), ROWS_PER_TRANSACTION):
                with self._transaction():
                    self._remove_images(listing, unseen[start : start + ROWS_PER_TRANSACTION], change)
            if len(rows) < _SCAN:
                return
            after = rows[-1][0]

    def _remove_images(self, listing: Listing, pks: list[int], change: Change) -> None:
        marks = ",".join("?" * len(pks))
        rows = self._rows(
            f"SELECT pk, directory, file_name, annotation_name, status, split FROM image WHERE pk IN ({marks})", pks
        )
        for pk, directory, file_name, annotation_name, status, split in rows:
            change.entries += image_entries(directory, file_name, annotation_name)
            change.entries += self._view_entries(listing.dataset, directory, file_name, annotation_name, status, split)
            self._count(listing, directory, status, split, -1)
            self._retire(pk)
            self._soil(listing, directory)
        for directory, count in Counter(row[1] for row in rows).items():
            self._run("UPDATE directory SET images = images - ? WHERE pk = ?", (count, directory))
        self._flush_tallies(listing)

    def _remove_empty_directories(self, listing: Listing, change: Change) -> None:
        while True:
            with self._transaction():
                rows = self._rows(
                    "SELECT pk, parent, file_name FROM directory WHERE dataset = ? AND images = 0 "
                    "AND subdirectories = 0 AND parent > 0 LIMIT ?",
                    (listing.dataset, ROWS_PER_TRANSACTION),
                )
                for pk, parent, file_name in rows:
                    for kind in (Kind.IMAGES, Kind.ANNOTATIONS):
                        change.entries.append((node_id(parent, kind), file_name))
                    self._drop_view_directories(pk, parent, file_name, change)
                    self._run("DELETE FROM tally WHERE directory = ?", (pk,))
                    self._run("DELETE FROM directory WHERE pk = ?", (pk,))
                    self._run("UPDATE directory SET subdirectories = subdirectories - 1 WHERE pk = ?", (parent,))
                    self._soil(listing, parent)
            if not rows:
                return
            listing.directories.clear()

    def _move_mtimes(self, dataset: int, now_ns: int, change: Change) -> None:
        while True:
            with self._transaction():
                rows = self._rows(
                    "SELECT pk, dirty FROM directory WHERE dataset = ? AND dirty > 0 LIMIT ?", (dataset, ROWS_PER_TRANSACTION)
                )
                moved = [pk for pk, dirty in rows if dirty & 1]
                self._run_many("UPDATE directory SET mtime_ns = ? WHERE pk = ?", [(now_ns, pk) for pk in moved])
                for pk, _ in rows:
                    self._run("UPDATE directory SET dirty = 0 WHERE pk = ?", (pk,))
                    self._run("UPDATE view_directory SET mtime_ns = ? WHERE directory = ?", (now_ns, pk))
                    for (viewed,) in self._rows("SELECT pk FROM view_directory WHERE directory = ?", (pk,)):
                        change.nodes += [node_id(viewed, Kind.VIEW_IMAGES), node_id(viewed, Kind.VIEW_ANNOTATIONS)]
            for pk in moved:
                change.nodes += [node_id(pk, Kind.IMAGES), node_id(pk, Kind.ANNOTATIONS)]
            if len(rows) < ROWS_PER_TRANSACTION:
                return

    def _count(self, listing: Listing, directory: int, status: int | None, split: int | None, by: int) -> None:
        for number, word in ((1, split), (2, status)):
            if word is not None:
                key = (directory, number, word)
                listing.tallies[key] = listing.tallies.get(key, 0) + by

    def _flush_tallies(self, listing: Listing) -> None:
        rows = [(*key, by) for key, by in listing.tallies.items() if by]
        listing.tallies.clear()
        for directory in {row[0] for row in rows}:
            self._soil(listing, directory, 2)
        self._run_many(
            "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET images = images + excluded.images", rows
        )
