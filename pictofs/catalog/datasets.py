"""Writing organizations and their datasets.

A dataset's name on the mount is provisional until a complete list has seen it, like an image's; the first by
(created_at, id) of those that want a plain name has it. One that is renamed at the service gets a new name
here too, with the same pk. One that is gone keeps its rows: when it comes back (it was archived, or the key
could not see it for a while) it is the same dataset, and not to be listed anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import key_digest, storable
from pictofs.catalog.model import Change, DatasetFacts, DatasetRow, Kind, OrganizationRow, node_id
from pictofs.catalog.writing import Writing

_UPDATE = (
    "UPDATE dataset SET remote_id = ?, plain = ?, slug = ?, archived = ?, document = ?, fingerprint = ?, "
    "created_ns = ?, updated_ns = ?, image_count = ?, total_bytes = ?, checked_ns = ?, file_name = ?, named "
    "= ?, "
    "gone_ns = 0 WHERE pk = ?"
)
_INSERT = (
    "INSERT INTO dataset (remote_id, plain, slug, archived, document, fingerprint, created_ns, updated_ns, "
    "image_count, total_bytes, checked_ns, file_name, named, organization) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class DatasetWrites(Writing):
    """What the service says above the images."""

    def put_organization(
        self, origin: str, remote_id: str, name: str, slug: str, document: bytes, key: str
    ) -> OrganizationRow:
        """The organization that `key` belongs to at `origin`; of the key a salted hash is kept."""
        digest = key_digest(self._value("SELECT value FROM meta WHERE name = 'salt'"), origin, key)
        with self._transaction():
            row = self._row(
                "INSERT INTO organization (origin, remote_id, name, slug, document) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET name = excluded.name, slug = excluded.slug, document = "
                "excluded.document "
                "RETURNING pk",
                (origin, storable(remote_id), storable(name), storable(slug), document),
            )
            assert row is not None
            self._run("INSERT OR REPLACE INTO api_key VALUES (?, ?)", (digest, row[0]))
            found = self.organization(row[0])
            assert found is not None
        return found

    def touch_organization(self, organization: int, tried_ns: int) -> None:
        """The list of its datasets was asked for, with whatever outcome."""
        with self._transaction():
            self._run("UPDATE organization SET tried_ns = ? WHERE pk = ?", (tried_ns, organization))

    def put_datasets(
        self, organization: int, facts: Iterable[DatasetFacts], now_ns: int, complete: bool = True
    ) -> Change:
        """The service's list of datasets; when `complete`, others are gone and the names are for good."""
        with self._transaction():
            before = self._present(organization)
            ordered = sorted(facts, key=lambda one: (one.created_ns, one.remote_id))
            known = {self._known(organization, one) for one in ordered}
            if complete:
                for pk in before.keys() - known:
                    self._run("UPDATE dataset SET gone_ns = ? WHERE pk = ?", (max(now_ns, 1), pk))
                # Names with a slash are nobody's: so that those to be given in order are free.
                self._run(
                    "UPDATE dataset SET file_name = '/' || pk "
                    "WHERE organization = ? AND gone_ns = 0 AND named = 0",
                    (organization,),
                )
                sql = "UPDATE organization SET checked_ns = ?1, tried_ns = ?1 WHERE pk = ?2"
                self._run(sql, (now_ns, organization))
            for one in ordered:
                self._put(organization, one, now_ns, complete)
            return self._difference(organization, before)

    def put_dataset(self, organization: int, facts: DatasetFacts, now_ns: int) -> tuple[DatasetRow, Change]:
        """What the service says of one dataset."""
        with self._transaction():
            before = self._present(organization)
            row = self.dataset(self._put(organization, facts, now_ns, False))
            assert row is not None
            return row, self._difference(organization, before)

    def _present(self, organization: int) -> dict[int, DatasetRow]:
        return {row.pk: row for row in self.datasets(organization, archived=True)}

    def _known(self, organization: int, facts: DatasetFacts) -> int:
        """The pk of a dataset by its id (where there is none, by its name); 0 for a new one."""
        row = self._row(
            "SELECT pk FROM dataset WHERE organization = ? AND remote_id = ? AND (remote_id <> '' OR plain = "
            "?) "
            "ORDER BY gone_ns > 0, pk DESC LIMIT 1",
            (organization, storable(facts.remote_id), names.encode(facts.name)),
        )
        return row[0] if row else 0

    def _put(self, organization: int, facts: DatasetFacts, now_ns: int, complete: bool) -> int:
        pk = self._known(organization, facts)
        plain = names.encode(facts.name)
        file_name = self._file_name(organization, pk, facts, plain)
        old = self._row("SELECT named, file_name FROM dataset WHERE pk = ?", (pk,))
        named = complete or (old is not None and bool(old[0]) and old[1] == file_name)
        fields = (
            storable(facts.remote_id),
            plain,
            names.encode(facts.slug) if facts.slug else "",
            int(facts.archived),
            facts.document,
            facts.fingerprint,
            facts.created_ns,
            facts.updated_ns,
            facts.image_count,
            facts.total_bytes,
            now_ns,
            file_name,
            int(named),
        )
        if old is not None:
            self._run(_UPDATE, (*fields, pk))
            return pk
        pk = self._insert(_INSERT, (*fields, organization))
        root = self._insert(
            "INSERT INTO directory (dataset, parent, file_name, path, mtime_ns) VALUES (?, 0, '', '/', ?)",
            (pk, now_ns),
        )
        self._run("UPDATE dataset SET root_directory = ? WHERE pk = ?", (root, pk))
        self._run("INSERT INTO dataset_count (dataset) VALUES (?)", (pk,))
        return pk

    def _file_name(self, organization: int, pk: int, facts: DatasetFacts, plain: str) -> str:
        """The name it has, while its remote name is the same and nobody took it meanwhile; else a new one."""

        def is_taken(name: str) -> bool:
            sql = "SELECT 1 FROM dataset WHERE organization = ? AND gone_ns = 0 AND file_name = ? AND pk <> ?"
            return self._row(sql, (organization, name, pk)) is not None

        row = self._row("SELECT file_name FROM dataset WHERE pk = ? AND plain = ?", (pk, plain))
        if row is not None and not row[0].startswith("/") and not is_taken(row[0]):
            return str(row[0])
        return naming.claim(plain, names.tag(facts.remote_id, "dataset", facts.name), is_taken)

    def _difference(self, organization: int, before: dict[int, DatasetRow]) -> Change:
        """What is untrue now for those who saw `before`."""
        change = Change()
        after = self._present(organization)
        for pk in sorted(before.keys() | after.keys()):
            old, new = before.get(pk), after.get(pk)
            if old is None or new is None or _leads(old) != _leads(new):
                names_now = {name for row in (old, new) if row is not None for name in _leads(row)}
                change.entries += [
                    (node_id(organization, Kind.ORGANIZATION), name) for name in sorted(names_now)
                ]
            if new is None:
                change.nodes.append(node_id(pk, Kind.DATASET))
            elif old is not None and old.document != new.document:
                change.nodes += [node_id(pk, Kind.DATASET), node_id(pk, Kind.DATASET_JSON)]
        if change.entries:
            change.nodes.append(node_id(organization, Kind.ORGANIZATION))
        return change


def _leads(row: DatasetRow) -> set[str]:
    """The names that lead to a dataset, the hidden ones among them."""
    return {row.file_name, row.name, row.slug, row.remote_id} - {""}
