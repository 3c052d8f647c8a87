"""Writing exports: archives in whatever state, one row a version."""

from __future__ import annotations

from collections.abc import Iterable

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import storable
from pictofs.catalog.model import Change, ExportFacts, ExportRow, Kind, node_id
from pictofs.catalog.writing import Writing

_INSERT = (
    "INSERT INTO export (file_name, plain, status, created_ns, completed_ns, document, size, dataset, "
    "remote_id, ino) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE export SET file_name = ?, plain = ?, status = ?, created_ns = ?, completed_ns = ?, document = ?, "
    "size = ? WHERE pk = ?"
)


class ExportWrites(Writing):
    """What the service says of a dataset's exports."""

    def put_exports(self, dataset: int, facts: Iterable[ExportFacts], now_ns: int) -> Change:
        """The service's whole list of a dataset's exports: what is not in it is gone.

        An export that was completed and now has another state, completion time or size is a new version; one
        that only now is completed keeps its row, since nobody has read it yet.
        """
        change = Change()
        with self._transaction():
            ordered = sorted(facts, key=lambda one: (one.created_ns, one.remote_id))
            known = {
                (row.remote_id, row.remote_name if not row.remote_id else ""): row
                for row in self.exports(dataset)
            }
            present = {_key(one) for one in ordered}
            for key, row in known.items():
                if key not in present:
                    self._retire_export(row, change)
            for one in ordered:
                self._put_export(dataset, one, known.get(_key(one)), change)
            self._run("UPDATE dataset SET exports_listed_ns = ? WHERE pk = ?", (now_ns, dataset))
            if change.entries:
                change.nodes.append(node_id(dataset, Kind.EXPORTS))
        return change

    def put_export_truth(self, export: int, size_bytes: int) -> Change:
        """The size that storage tells of an export whose row has none; stays until the version changes."""
        with self._transaction():
            self._run("UPDATE export SET size = ? WHERE pk = ? AND size IS NULL", (size_bytes, export))
        return Change()

    def _put_export(self, dataset: int, facts: ExportFacts, old: ExportRow | None, change: Change) -> None:
        size = facts.size_bytes
        if old is not None and size is None and old.completed_ns == facts.completed_ns:
            size = old.size_bytes  # learned from storage
        file_name = self._export_name(dataset, facts, old)
        fields = (
            file_name,
            names.encode(facts.remote_name),
            storable(facts.status),
            facts.created_ns,
            facts.completed_ns,
            facts.document,
            size,
        )
        if old is None:
            self._insert(_INSERT, (*fields, dataset, storable(facts.remote_id), None))
        elif old.completed_ns and (
            facts.completed_ns != old.completed_ns
            or (old.size_bytes is not None and size != old.size_bytes)
            or (old.status == "completed" != facts.status)
        ):
            self._retire_export(old, change)
            self._insert(_INSERT, (*fields, dataset, old.remote_id, old.ino))
        else:
            self._run(_UPDATE, (*fields, old.pk))
            if old.document != facts.document:
                change.nodes.append(node_id(old.pk, Kind.EXPORT_STATUS))
            if (old.file_name, old.status) == (file_name, facts.status):
                return
            change.entries += export_entries(dataset, old.file_name)
            change.nodes.append(node_id(old.pk, Kind.EXPORT))
        change.entries += export_entries(dataset, file_name)

    def _export_name(self, dataset: int, facts: ExportFacts, old: ExportRow | None) -> str:
        if old is not None and old.remote_name == facts.remote_name:
            return old.file_name
        mark = names.tag(facts.remote_id, "export", facts.remote_name)
        return naming.export_stem(
            names.encode(facts.remote_name), mark, lambda name: self._form_taken(dataset, name, old)
        )

    def _retire_export(self, row: ExportRow, change: Change) -> None:
        self._run("UPDATE export SET gone = 1 WHERE pk = ?", (row.pk,))
        change.entries += export_entries(row.dataset, row.file_name)

    def _form_taken(self, dataset: int, name: str, ours: ExportRow | None) -> bool:
        """Whether any current export of the dataset has `name` as one of its three names."""
        stems = {name, name.removesuffix(naming.ZIP), name.removesuffix(naming.STATUS)}
        found = (self.export_named(dataset, stem) for stem in stems)
        return any(row is not None and (ours is None or row.pk != ours.pk) for row in found)


def export_entries(dataset: int, file_name: str) -> list[tuple[int, str]]:
    """Where an export stands, in its three forms."""
    return [(node_id(dataset, Kind.EXPORTS), name) for name in naming.export_forms(file_name)]


def _key(facts: ExportFacts) -> tuple[str, str]:
    return storable(facts.remote_id), facts.remote_name if not facts.remote_id else ""
