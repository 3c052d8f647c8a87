"""Listings of images: begun, filled page by page, finished.

A page is one transaction and visible at once. What a listing has not seen is removed when it is finished,
and never before: a listing that is interrupted leaves everything that the last complete one said. Which
objects it saw is kept in memory, one bit each, so an unchanged image costs a comparison and no write.

A name is provisional until the listing that gave it is complete; see `settling`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import identity, pack_directory, pack_tags
from pictofs.catalog.connected import Row
from pictofs.catalog.model import Change, ImageFacts, Kind, node_id
from pictofs.catalog.placing import ENTRIES, Listing, mark_of, marks_of
from pictofs.catalog.removing import Removing
from pictofs.catalog.settling import Settling
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, image_entries, padded

_KNOWN = (
    "SELECT identity, pk, ifnull(ino, pk), directory, file_name, annotation_name, plain, size, created_ns, "
    "status, "
    "split, width, height, annotation_count, tags FROM image "
    "WHERE dataset = ? AND directory IS NOT NULL AND identity"
)
_INSERT = (
    "INSERT INTO image (pk, dataset, directory, file_name, annotation_name, identity, plain, size, "
    "created_ns, "
    "status, split, width, height, annotation_count, tags, marks) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_NEVER_CUT_BYTES = names.LIMIT_BYTES - len(".json")  # then its annotation's name fits too

Identity = bytes | str
_New = tuple[ImageFacts, int, str]  # directory and plain name


class ListingWrites(Settling, Removing):
    """What the fetching process does with the pages of a listing."""

    def begin_listing(self, dataset: int) -> int:
        """Begins a listing and returns its generation; one of the dataset that was under way is forgotten."""
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
        """Takes over images that the service lists.

        An object that comes twice counts once; where the service gives no ids, each image of a name is
        another one. LookupError when the listing is not (or no longer) the one under way.
        """
        listing = self._listing(dataset, generation)
        change = Change()
        page: list[ImageFacts] = []
        with self._whole_or_forgotten(listing):
            for one in facts:
                page.append(one)
                if len(page) == ROWS_PER_TRANSACTION:
                    self._put_page(listing, page, change)
                    page = []
            if page:
                self._put_page(listing, page, change)
        return change

    def finish_listing(self, dataset: int, generation: int, fingerprint: str, now_ns: int) -> Change:
        """The listing is complete: what it has not seen is removed, names are settled, views rebuilt.

        Directories whose entries changed since the last complete listing get `now_ns` as their mtime.
        LookupError as for `put_images`.
        """
        listing = self._listing(dataset, generation)
        change = Change()
        with self._whole_or_forgotten(listing):
            self._remove_unseen(listing, change)
            self._remove_empty_directories(listing, change)
            self._settle(listing, change)
            self._rebuild_views(listing, now_ns, change)
            self._move_mtimes(dataset, now_ns, change)
            with self._transaction():
                self._run(
                    "UPDATE dataset SET listed_ns = ?1, listed_fingerprint = ?2, checked_ns = "
                    "max(checked_ns, ?1), "
                    "settled_pk = (SELECT value - 1 FROM meta WHERE name = 'next_pk') WHERE pk = ?3",
                    (now_ns, fingerprint, dataset),
                )
        del self._listings[dataset]
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

    @contextmanager
    def _whole_or_forgotten(self, listing: Listing) -> Iterator[None]:
        """After a failure what a listing has in memory is no longer what is on disk: it must begin again."""
        try:
            yield
        except BaseException:
            self._listings.pop(listing.dataset, None)
            raise

    def _put_page(self, listing: Listing, facts: Sequence[ImageFacts], change: Change) -> None:
        now_ns = int(self._clock_s() * 1e9)
        ordered = sorted(facts, key=lambda one: (one.created_ns, one.remote_id))
        with self._transaction():
            keyed: list[tuple[ImageFacts, tuple[str, ...], Identity]] = []
            for one in ordered:
                components = pack_directory(one.directory_path)
                place = "" if one.remote_id else "/".join(components)
                keyed.append((one, components, identity(one.remote_id, place, one.remote_name, 0)))
            marks, keys = padded([key for _, _, key in keyed])
            known = {row[0]: row for row in self._rows(f"{_KNOWN} IN ({marks})", (listing.dataset, *keys))}
            new: dict[Identity, _New] = {}
            for one, components, key in keyed:
                directory = self._directory_for(listing, components, now_ns, change)
                row = known.get(key)
                if not one.remote_id:
                    key, row = self._next_ordinal(listing, one, components, key, row, new)
                if row is None:
                    new.setdefault(key, (one, directory, names.encode(one.remote_name)))
                elif row[2] not in listing.seen:
                    listing.seen.add(row[2])
                    self._relist(listing, row, one, directory, change)
            if new:
                self._add(listing, new, change)
            self._flush_tallies(listing)

    def _next_ordinal(
        self,
        listing: Listing,
        one: ImageFacts,
        components: tuple[str, ...],
        key: Identity,
        row: Row | None,
        new: dict[Identity, Any],
    ) -> tuple[Identity, Row | None]:
        """Without an id the n-th image of a name is the n-th that this listing brings."""
        ordinal = 0
        while key in new or (row is not None and row[2] in listing.seen):
            ordinal += 1
            key = identity("", "/".join(components), one.remote_name, ordinal)
            row = self._row(f"{_KNOWN} = ?", (listing.dataset, key))
        return key, row

    def _relist(self, listing: Listing, row: Row, one: ImageFacts, directory: int, change: Change) -> None:
        """An object that is known: unchanged, changed in place, moved, or another version."""
        _, pk, ino, old_directory, file_name, annotation_name, old_plain, *old = row
        size, created_ns, old_status, old_split = old[:4]
        plain = names.encode(one.remote_name)
        status, split = self._intern(one.status), self._intern(one.split)
        new_size = size if one.size_bytes is None else one.size_bytes
        new_created_ns: int = one.created_ns or created_ns
        new = [
            new_size,
            new_created_ns,
            status,
            split,
            one.width,
            one.height,
            one.annotation_count,
            self._intern(pack_tags(one.tags)),
        ]
        moved = directory != old_directory or plain != (old_plain or file_name)
        if new == old and not moved:
            return
        self._count(listing, old_directory, old_status, old_split, -1)
        if (size is not None and size != new_size) or (created_ns and created_ns != new_created_ns):
            pk = self._supersede(pk, new_size, new_created_ns, change)
        elif (size, created_ns) != (new_size, new_created_ns):
            self._learn(pk, new_size, new_created_ns)
            change.nodes.append(node_id(pk, Kind.IMAGE))
        if moved:
            listing.renamed.add(ino)
            self._place(listing, pk, directory, plain, change)
            file_name, annotation_name = self._rows(
                "SELECT file_name, annotation_name FROM image WHERE pk = ?", (pk,)
            )[0]
        self._run(
            "UPDATE image SET size = ?, created_ns = ?, status = ?, split = ?, width = ?, height = ?, "
            "annotation_count = ?, tags = ? WHERE pk = ?",
            (*new, pk),
        )
        if (status, split) != (old_status, old_split):
            for values in ((old_status, old_split), (status, split)):
                change.entries += self._view_entries(
                    listing.dataset, directory, file_name, annotation_name, *values
                )
        self._count(listing, directory, status, split, 1)

    def _add(self, listing: Listing, new: dict[Identity, _New], change: Change) -> None:
        """Objects seen for the first time."""
        wanted: dict[int, list[str]] = {}
        for _, directory, plain in new.values():
            wanted.setdefault(directory, []).append(plain)
        taken = {directory: self._taken(directory, plains) for directory, plains in wanted.items()}
        pk = self._draw(len(new))
        rows: list[tuple[object, ...]] = []
        known_bytes = 0
        for key, (one, directory, plain) in new.items():
            file_name, annotation, marks = self._names_for(directory, plain, key, *taken[directory])
            status, split = self._intern(one.status), self._intern(one.split)
            rows.append(
                (
                    pk,
                    listing.dataset,
                    directory,
                    file_name,
                    annotation,
                    key,
                    plain if plain != file_name else None,
                    one.size_bytes,
                    one.created_ns,
                    status,
                    split,
                    one.width,
                    one.height,
                    one.annotation_count,
                    self._intern(pack_tags(one.tags)),
                    marks,
                )
            )
            listing.seen.add(pk)
            known_bytes += one.size_bytes or 0
            self._count(listing, directory, status, split, 1)
            if listing.relisted:
                change.entries += image_entries(directory, file_name, annotation)
                change.entries += self._view_entries(
                    listing.dataset, directory, file_name, annotation, status, split
                )
            pk += 1
        self._run_many(_INSERT, rows)
        for directory, count in Counter(directory for _, directory, _ in new.values()).items():
            self._run("UPDATE directory SET images = images + ? WHERE pk = ?", (count, directory))
            self._soil(listing, directory, ENTRIES)
        self._run(
            "UPDATE dataset_count SET images = images + ?, known_bytes = known_bytes + ? WHERE dataset = ?",
            (len(rows), known_bytes, listing.dataset),
        )

    def _names_for(
        self, directory: int, plain: str, key: Identity, files: set[str], annotations: set[str]
    ) -> tuple[str, str, int]:
        """(file name, annotation name, marks) for a new image; its page has taken the names then."""
        file_name, annotation, marks = plain, _uncut_annotation(plain), 0
        # Plain names that `_taken` looked up and did not find are free; all others are asked for one by one.
        if plain in files or annotation in annotations or len(plain.encode()) > _NEVER_CUT_BYTES:
            mark = mark_of(key)

            def taken(column: str, among: set[str]) -> Callable[[str], bool]:
                return lambda name: name in among or self._is_taken(directory, column, name)

            file_name = naming.claim(plain, mark, taken("file_name", files))
            annotation = naming.annotation_name(file_name, mark, taken("annotation_name", annotations))
            marks = marks_of(file_name, annotation, plain, mark)
        files.add(file_name)
        annotations.add(annotation)
        return file_name, annotation, marks

    def _taken(self, directory: int, plains: list[str]) -> tuple[set[str], set[str]]:
        """Which of these plain names, and of the annotation names to go with them, are taken."""
        annotations = list(map(_uncut_annotation, plains))
        files: set[str] = set()
        jsons: set[str] = set()
        images, subdirectories = self._rows(
            "SELECT images, subdirectories FROM directory WHERE pk = ?", (directory,)
        )[0]
        if images:
            image = "SELECT {0} FROM image WHERE directory = ? AND {0}"
            files |= self._among(image.format("file_name"), directory, plains)
            jsons |= self._among(image.format("annotation_name"), directory, annotations)
        if subdirectories:
            sql = "SELECT file_name FROM directory WHERE parent = ? AND parent > 0 AND file_name"
            files |= self._among(sql, directory, plains)
            jsons |= self._among(sql, directory, annotations)
        return files, jsons

    def _among(self, sql: str, directory: int, wanted: list[str]) -> set[str]:
        marks, values = padded(wanted)
        return {name for (name,) in self._rows(f"{sql} IN ({marks})", (directory, *values))}


def _uncut_annotation(plain: str) -> str:
    return f"{names.split_extension(plain)[0]}.json"
