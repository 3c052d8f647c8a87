"""The end of a listing: names for good.

A name is provisional until a complete listing has seen its object; then it stays. Among provisional ones,
the first by (created_at, id) of those that want a plain name has it, unless it is taken for good or by a
directory; the others carry their mark, which they choose in the same order. So the names after a first
complete listing depend on what exists and not on the order in which pages came. The same holds for
annotations: first `<stem>.json`, then `<filename>.json`, then marks.

An object that is deleted gives its name back when the listing that misses it is complete, and one that
came in that same listing gets it: a picture that was replaced at the service keeps its plain name here.
One that came earlier keeps the mark it has.

Twins are put in order through a temporary table, so that a directory of a million twins needs little memory.
"""

from __future__ import annotations

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import identity as identity_of
from pictofs.catalog.columns import unpack_id
from pictofs.catalog.model import Change, Kind, node_id
from pictofs.catalog.placing import Listing, mark_of, marks_of
from pictofs.catalog.versions import VersionWrites
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, image_entries

FILE, ANNOTATION = 1, 2  # the bits of `marks`
_COLUMN = {FILE: "file_name", ANNOTATION: "annotation_name"}
_ORDER = "created_ns, remote_id, tie"
_TWIN = (
    "CREATE TEMP TABLE IF NOT EXISTS twin (pk INTEGER PRIMARY KEY, directory, plain, created_ns, remote_id, tie, "
    "done DEFAULT 0)"
)


class Settling(VersionWrites):
    """Names once the last page is in and what was not seen is removed."""

    def _settle(self, listing: Listing, change: Change) -> None:
        for bit in (FILE, ANNOTATION):
            self._run(_TWIN)
            try:
                self._gather_twins(listing, bit)
                for (directory,) in self._rows("SELECT DISTINCT directory FROM twin ORDER BY directory"):
                    self._settle_directory(listing, directory, bit, change)
            finally:
                self._run("DROP TABLE temp.twin")

    def _gather_twins(self, listing: Listing, bit: int) -> None:
        """All objects with a provisional name that is not the plain one."""
        after = listing.settled_pk
        while True:
            rows = self._rows(
                "SELECT pk FROM image INDEXED BY image_marked WHERE dataset = ? AND marks > 0 AND directory IS NOT NULL "
                "AND pk > ? ORDER BY pk LIMIT ?",
                (listing.dataset, after, ROWS_PER_TRANSACTION),
            )
            for (pk,) in rows:
                self._gather_twin(listing, pk, bit)
            if len(rows) < ROWS_PER_TRANSACTION:
                break
            after = rows[-1][0]
        for ino in listing.renamed:
            image = self.current_image(ino)
            if image is not None:
                self._gather_twin(listing, image.pk, bit)

    def _gather_twin(self, listing: Listing, pk: int, bit: int) -> None:
        row = self._row(
            "SELECT ifnull(ino, pk), directory, file_name, identity, plain, created_ns, marks FROM image WHERE pk = ?", (pk,)
        )
        if row is not None and row[6] & bit and listing.provisional(row[0]):
            self._enlist(pk, *row[1:6], bit)

    def _enlist(
        self, pk: int, directory: int, file_name: str, identity: bytes | str, plain: str | None, created_ns: int, bit: int
    ) -> None:
        self._run(
            "INSERT OR IGNORE INTO temp.twin (pk, directory, plain, created_ns, remote_id, tie) VALUES (?, ?, ?, ?, ?, ?)",
            (
                pk,
                directory,
                _wish(file_name, plain, identity, bit),
                created_ns,
                unpack_id(identity),
                self._tie(directory, plain or file_name, identity),
            ),
        )

    def _tie(self, directory: int, plain: str, identity: bytes | str) -> bytes:
        """What orders objects without an id: the first of its name, then by hash."""
        if isinstance(identity, str) or len(identity) == 16:
            return b""
        path = self._value("SELECT path FROM directory WHERE pk = ?", (directory,))
        first = identity_of("", str(path)[1:], names.decode(plain), 0)
        return b"" if identity == first else identity

    def _settle_directory(self, listing: Listing, directory: int, bit: int, change: Change) -> None:
        firsts = (
            f"SELECT pk FROM (SELECT pk, row_number() OVER (PARTITION BY plain ORDER BY {_ORDER}) AS place FROM temp.twin "
            "WHERE directory = ?) WHERE place = 1"
        )
        others = f"SELECT pk FROM temp.twin WHERE directory = ? AND done = 0 ORDER BY {_ORDER}"
        for sql, settle_one in ((firsts, self._settle_first), (others, self._settle_other)):
            pks = [pk for (pk,) in self._rows(sql, (directory,))]
            for start in range(0, len(pks), ROWS_PER_TRANSACTION):
                with self._transaction():
                    for pk in pks[start : start + ROWS_PER_TRANSACTION]:
                        settle_one(listing, directory, pk, bit, change)

    def _settle_first(self, listing: Listing, directory: int, pk: int, bit: int, change: Change) -> None:
        """The first of those with a mark who want a plain name gets it, if nobody has a better right to it."""
        (plain,) = self._rows("SELECT plain FROM temp.twin WHERE pk = ?", (pk,))[0]
        holder = self._holder(directory, bit, plain)
        if holder == 0 or (holder and not self._yields(listing, holder, pk, plain, bit)):
            return
        if holder:
            self._park(listing, holder, bit, change)
        self._assign(listing, pk, plain, bit, change)

    def _settle_other(self, listing: Listing, directory: int, pk: int, bit: int, change: Change) -> None:
        """One who is not the first gets the best name that nobody before it in the order has."""
        file_name, identity, plain = self._rows("SELECT file_name, identity, plain FROM image WHERE pk = ?", (pk,))[0]

        def is_taken(name: str) -> bool:
            holder = self._holder(directory, bit, name)
            if holder is None or holder == pk:
                return False
            return not (holder and self._row("SELECT 1 FROM temp.twin WHERE pk = ? AND done = 0", (holder,)))

        wanted = plain or file_name if bit == FILE else f"{file_name}.json"
        name = naming.claim(wanted, mark_of(identity), is_taken)
        holder = self._holder(directory, bit, name)
        if holder and holder != pk:
            self._park(listing, holder, bit, change)
        self._assign(listing, pk, name, bit, change)

    def _holder(self, directory: int, bit: int, name: str) -> int | None:
        """The pk of the image that has the name; 0 for a directory; None when it is free."""
        if self._row("SELECT 1 FROM directory WHERE parent = ? AND parent > 0 AND file_name = ?", (directory, name)):
            return 0
        row = self._row(f"SELECT pk FROM image WHERE directory = ? AND {_COLUMN[bit]} = ?", (directory, name))
        return row[0] if row else None

    def _yields(self, listing: Listing, holder: int, pk: int, plain: str, bit: int) -> bool:
        """Whether `holder` gives `plain` to `pk`; it then is a twin like the others."""
        row = self._rows(
            "SELECT ifnull(ino, pk), directory, file_name, identity, plain, created_ns FROM image WHERE pk = ?", (holder,)
        )[0]
        if not listing.provisional(row[0]):
            return False
        self._enlist(holder, *row[1:], bit)
        order = f"SELECT plain, {_ORDER} FROM temp.twin WHERE pk = ?"
        ours, theirs = self._rows(order, (pk,))[0], self._rows(order, (holder,))[0]
        if theirs[0] == plain and theirs < ours:
            self._run("DELETE FROM temp.twin WHERE pk = ?", (holder,))
            return False
        return True

    def _park(self, listing: Listing, pk: int, bit: int, change: Change) -> None:
        """Moves a twin whose turn has not come out of the way, to a name that is valid should it all end here."""
        file_name, identity, plain = self._rows("SELECT file_name, identity, plain FROM image WHERE pk = ?", (pk,))[0]
        wanted = plain or file_name if bit == FILE else f"{file_name}.json"
        self._rename_to(listing, pk, names.marked(wanted, f"{mark_of(identity)}-{pk}"), bit, change)

    def _assign(self, listing: Listing, pk: int, name: str, bit: int, change: Change) -> None:
        """The name that `pk` has at the end of this listing."""
        self._run("UPDATE temp.twin SET done = 1 WHERE pk = ?", (pk,))
        self._rename_to(listing, pk, name, bit, change)

    def _rename_to(self, listing: Listing, pk: int, name: str, bit: int, change: Change) -> None:
        """Gives a name that is free; the annotation's goes with the file's."""
        dataset, directory, file_name, annotation, identity, plain, status, split = self._rows(
            "SELECT dataset, directory, file_name, annotation_name, identity, plain, status, split FROM image WHERE pk = ?", (pk,)
        )[0]
        if (file_name if bit == FILE else annotation) == name:
            return
        mark = mark_of(identity)
        wanted = plain or file_name
        if bit == FILE:
            new = name, naming.annotation_name(
                name, mark, lambda other: self._holder(directory, ANNOTATION, other) not in (None, pk)
            )
        else:
            new = file_name, name
        self._run(
            "UPDATE image SET file_name = ?, annotation_name = ?, plain = ?, marks = ? WHERE pk = ?",
            (*new, wanted if wanted != new[0] else None, marks_of(*new, wanted, mark), pk),
        )
        for pair in ((file_name, annotation), new):
            change.entries += image_entries(directory, *pair)
            change.entries += self._view_entries(dataset, directory, *pair, status, split)
        change.nodes += [node_id(pk, Kind.IMAGE_LINK), node_id(pk, Kind.ANNOTATION_LINK)]
        self._soil(listing, directory)


def _wish(file_name: str, plain: str | None, identity: bytes | str, bit: int) -> str:
    """The name an object would have if it were alone."""
    mark = mark_of(identity)
    return names.fit(plain or file_name, mark) if bit == FILE else naming.annotation_plain(file_name, mark)
