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

from collections.abc import Iterable

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import identity as identity_of
from pictofs.catalog.columns import unpack_id
from pictofs.catalog.connected import Row
from pictofs.catalog.model import Change
from pictofs.catalog.placing import ENTRIES, Listing, link_nodes, mark_of, marks_of
from pictofs.catalog.versions import VersionWrites
from pictofs.catalog.writing import ROWS_PER_TRANSACTION, image_entries, paged

FILE, ANNOTATION = 1, 2  # the bits of `image.marks`
_COLUMN = {FILE: "file_name", ANNOTATION: "annotation_name"}
_TWIN = (
    "CREATE TEMP TABLE twin "
    "(pk INTEGER PRIMARY KEY, directory, plain, created_ns, remote_id, tie, done DEFAULT 0)"
)
_ENLIST = (
    "INSERT OR IGNORE INTO temp.twin (pk, directory, plain, created_ns, remote_id, tie) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_IMAGE = (
    "SELECT pk, ifnull(ino, pk), marks, directory, file_name, identity, ifnull(plain, file_name), created_ns "
    "FROM image"
)
_ORDER = "created_ns, remote_id, tie"
_FIRSTS = (
    "SELECT pk FROM (SELECT pk, directory, row_number() OVER "
    f"(PARTITION BY directory, plain ORDER BY {_ORDER}) AS place FROM temp.twin) WHERE place = 1"
)
_OTHERS = f"SELECT pk FROM temp.twin WHERE done = 0 ORDER BY directory, {_ORDER}"


class Settling(VersionWrites):
    """Names once the last page is in and what was not seen is removed."""

    def _settle(self, listing: Listing, change: Change) -> None:
        for bit in (FILE, ANNOTATION):
            self._run(_TWIN)
            try:
                self._gather_twins(listing, bit)
                for sql, settle_one in ((_FIRSTS, self._settle_first), (_OTHERS, self._settle_other)):
                    for page in paged(self._rows(sql)):
                        with self._transaction():
                            for (pk,) in page:
                                settle_one(listing, pk, bit, change)
            finally:
                self._run("DROP TABLE temp.twin")

    def _gather_twins(self, listing: Listing, bit: int) -> None:
        """All objects with a provisional name that is not the plain one."""
        after = listing.settled_pk
        while True:
            rows = self._rows(
                f"{_IMAGE} INDEXED BY image_marked WHERE dataset = ? AND marks > 0 AND directory IS NOT NULL "
                "AND pk > ? ORDER BY pk LIMIT ?",
                (listing.dataset, after, ROWS_PER_TRANSACTION),
            )
            self._enlist([row for row in rows if row[2] & bit and listing.provisional(row[1])], bit)
            if len(rows) < ROWS_PER_TRANSACTION:
                break
            after = rows[-1][0]
        for ino in listing.renamed:
            image = self.current_image(ino)
            if image is not None:
                rows = self._rows(f"{_IMAGE} WHERE pk = ?", (image.pk,))
                self._enlist([row for row in rows if row[2] & bit], bit)

    def _enlist(self, rows: Iterable[Row], bit: int) -> None:
        """Puts images among the twins; again is nothing."""
        twins = []
        for pk, _, _, directory, file_name, identity, plain, created_ns in rows:
            mark = mark_of(identity)
            wish = names.fit(plain, mark) if bit == FILE else naming.annotation_plain(file_name, mark)
            tie = self._tie(directory, plain, identity)
            twins.append((pk, directory, wish, created_ns, unpack_id(identity), tie))
        self._run_many(_ENLIST, twins)

    def _tie(self, directory: int, plain: str, identity: bytes | str) -> bytes:
        """What orders objects without an id: the first of its name, then by hash."""
        if isinstance(identity, str) or len(identity) == 16:
            return b""
        path = self._value("SELECT path FROM directory WHERE pk = ?", (directory,))
        return b"" if identity == identity_of("", str(path)[1:], names.decode(plain), 0) else identity

    def _settle_first(self, listing: Listing, pk: int, bit: int, change: Change) -> None:
        """The first of those with a mark who want a plain name gets it, if nobody has a better right."""
        directory, plain = self._rows("SELECT directory, plain FROM temp.twin WHERE pk = ?", (pk,))[0]
        holder = self._holder(directory, bit, plain)
        if holder == 0 or (holder and not self._yields(listing, holder, pk, plain, bit)):
            return
        if holder and holder != pk:
            self._park(listing, holder, bit, change)
        self._assign(listing, pk, plain, bit, change)

    def _settle_other(self, listing: Listing, pk: int, bit: int, change: Change) -> None:
        """One who is not the first gets the best name that nobody before it in the order has."""
        directory, file_name, annotation, identity, plain = self._rows(
            "SELECT directory, file_name, annotation_name, identity, ifnull(plain, file_name) "
            "FROM image WHERE pk = ?",
            (pk,),
        )[0]
        parked = 0

        def is_taken(name: str) -> bool:
            nonlocal parked
            parked = 0
            if name == (file_name if bit == FILE else annotation):
                return False
            holder = self._holder(directory, bit, name)
            if holder is None:
                return False
            if holder and self._row("SELECT 1 FROM temp.twin WHERE pk = ? AND done = 0", (holder,)):
                parked = holder
                return False
            return True

        name = naming.claim(plain if bit == FILE else f"{file_name}.json", mark_of(identity), is_taken)
        if parked:
            self._park(listing, parked, bit, change)
        self._assign(listing, pk, name, bit, change)

    def _holder(self, directory: int, bit: int, name: str) -> int | None:
        """The pk of the image that has the name; 0 for a directory; None when it is free."""
        sql = "SELECT 1 FROM directory WHERE parent = ? AND parent > 0 AND file_name = ?"
        if self._row(sql, (directory, name)):
            return 0
        row = self._row(f"SELECT pk FROM image WHERE directory = ? AND {_COLUMN[bit]} = ?", (directory, name))
        return row[0] if row else None

    def _yields(self, listing: Listing, holder: int, pk: int, plain: str, bit: int) -> bool:
        """Whether `holder` gives `plain` to `pk`; it then is a twin like the others."""
        rows = self._rows(f"{_IMAGE} WHERE pk = ?", (holder,))
        if not listing.provisional(rows[0][1]):
            return False
        self._enlist(rows, bit)
        order = f"SELECT plain, {_ORDER} FROM temp.twin WHERE pk = ?"
        ours, theirs = self._rows(order, (pk,))[0], self._rows(order, (holder,))[0]
        if theirs[0] == plain and theirs < ours:
            self._run("DELETE FROM temp.twin WHERE pk = ?", (holder,))
            return False
        return True

    def _park(self, listing: Listing, pk: int, bit: int, change: Change) -> None:
        """Moves a twin whose turn has not come out of the way, to a name that is valid if all ends here."""
        _, _, _, directory, file_name, identity, plain, _ = self._rows(f"{_IMAGE} WHERE pk = ?", (pk,))[0]
        aside = names.marked(plain if bit == FILE else f"{file_name}.json", f"{mark_of(identity)}-{pk}")
        name = naming.claim(aside, "~", lambda name: self._holder(directory, bit, name) is not None)
        self._rename_to(listing, pk, name, bit, change)

    def _assign(self, listing: Listing, pk: int, name: str, bit: int, change: Change) -> None:
        """The name that `pk` has at the end of this listing."""
        self._run("UPDATE temp.twin SET done = 1 WHERE pk = ?", (pk,))
        self._rename_to(listing, pk, name, bit, change)

    def _rename_to(self, listing: Listing, pk: int, name: str, bit: int, change: Change) -> None:
        """Gives a name that is free; the annotation's goes with the file's."""
        dataset, directory, file_name, annotation, identity, plain, status, split = self._rows(
            "SELECT dataset, directory, file_name, annotation_name, identity, ifnull(plain, file_name), "
            "status, "
            "split FROM image WHERE pk = ?",
            (pk,),
        )[0]
        if (file_name if bit == FILE else annotation) == name:
            return
        mark = mark_of(identity)
        new = (file_name, name)
        if bit == FILE:
            new = (
                name,
                naming.annotation_name(
                    name, mark, lambda other: self._holder(directory, ANNOTATION, other) not in (None, pk)
                ),
            )
        self._run(
            "UPDATE image SET file_name = ?, annotation_name = ?, plain = ?, marks = ? WHERE pk = ?",
            (*new, plain if plain != new[0] else None, marks_of(*new, plain, mark), pk),
        )
        for file, json in ((file_name, annotation), new):
            change.entries += image_entries(directory, file, json)
            change.entries += self._view_entries(dataset, directory, file, json, status, split)
        change.nodes += link_nodes(pk)
        self._soil(listing, directory, ENTRIES)
