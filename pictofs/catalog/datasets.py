"""Writing organizations and their datasets."""

from __future__ import annotations

from collections.abc import Iterable

from pictofs import names
from pictofs.catalog import naming
from pictofs.catalog.columns import key_digest, storable
from pictofs.catalog.model import (
    Change,
    DatasetFacts,
    DatasetRow,
    Kind,
    OrganizationRow,
    node_id,
)
from pictofs.catalog.writing import Writing


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
                "ON CONFLICT DO UPDATE SET name = excluded.name, slug = excluded.slug, document = excluded.document "
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
        """The service's list of datasets; when `complete`, those not in it are gone and names are for good."""
        change = Change()
        with self._transaction():
            ordered = sorted(facts, key=lambda one: (one.created_ns, one.remote_id))
            present = {self._known_dataset(organization, one) for one in ordered}
            if complete:
                for row in self.datasets(organization, archived=True):
                    if row.pk not in present:
                        self._run("UPDATE dataset SET gone_ns = ? WHERE pk = ?", (now_ns, row.pk))
                        change.entries += _dataset_entries(row)
                        change.nodes.append(node_id(row.pk, Kind.DATASET))
                self._release_provisional(organization)
                self._run(
                    "UPDATE organization SET checked_ns = ?1, tried_ns = ?1 WHERE pk = ?2", (now_ns, organization)
                )
            for one in ordered:
                self._put_dataset(organization, one, now_ns, complete, change)
            if change:
                change.nodes.append(node_id(organization, Kind.ORGANIZATION))
        return change

    def put_dataset(self, organization: int, facts: DatasetFacts, now_ns: int) -> tuple[DatasetRow, Change]:
        """What the service says of one dataset."""
        change = Change()
        with self._transaction():
            pk = self._put_dataset(organization, facts, now_ns, False, change)
            row = self.dataset(pk)
            assert row is not None
        return row, change

    def _known_dataset(self, organization: int, facts: DatasetFacts) -> int:
        """The pk of a dataset by its id (where there is none, by its name); 0 for a new one."""
        remote_id = storable(facts.remote_id)
        row = self._row(
            "SELECT pk FROM dataset WHERE organization = ? AND remote_id = ? AND (remote_id <> '' OR plain = ?) "
            "ORDER BY gone_ns LIMIT 1",
            (organization, remote_id, names.encode(facts.name)),
        )
        return row[0] if row else 0

    def _release_provisional(self, organization: int) -> None:
        """Names that no complete list has seen are given anew, in order."""
        self._run(
            "UPDATE dataset SET file_name = '/' || pk WHERE organization = ? AND gone_ns = 0 AND named = 0",
            (organization,),
        )

    def _put_dataset(
        self, organization: int, facts: DatasetFacts, now_ns: int, complete: bool, change: Change
    ) -> int:
        plain, slug = names.encode(facts.name), names.encode(facts.slug) if facts.slug else ""
        pk = self._known_dataset(organization, facts)
        old = self.dataset(pk) if pk else None
        fields = (
            storable(facts.remote_id), plain, slug, int(facts.archived), facts.document, facts.fingerprint,
            facts.created_ns, facts.updated_ns, facts.image_count, facts.total_bytes, now_ns,
        )  # fmt: skip
        keeps = old is not None and not old.gone and names.encode(old.name) == plain and not old.file_name.startswith("/")
        file_name = old.file_name if keeps and old else self._dataset_name(organization, pk, facts, plain)
        if old is None:
            pk = self._insert(
                "INSERT INTO dataset (organization, remote_id, plain, slug, archived, document, fingerprint, created_ns, "
                "updated_ns, image_count, total_bytes, checked_ns, file_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (organization, *fields, file_name),
            )
            root = self._insert(
                "INSERT INTO directory (dataset, parent, file_name, path, mtime_ns) VALUES (?, 0, '', '/', ?)", (pk, now_ns)
            )
            self._run("UPDATE dataset SET root_directory = ? WHERE pk = ?", (root, pk))
            self._run("INSERT INTO dataset_count (dataset) VALUES (?)", (pk,))
        else:
            self._run(
                "UPDATE dataset SET remote_id = ?, plain = ?, slug = ?, archived = ?, document = ?, fingerprint = ?, "
                "created_ns = ?, updated_ns = ?, image_count = ?, total_bytes = ?, checked_ns = ?, file_name = ?, "
                "gone_ns = 0, named = named * ? WHERE pk = ?",
                (*fields, file_name, int(keeps), pk),
            )
        if complete:
            self._run("UPDATE dataset SET named = 1 WHERE pk = ? AND named = 0", (pk,))
        new = self.dataset(pk)
        assert new is not None
        if old is None or old.gone or not keeps or old.archived != new.archived:
            change.entries += _dataset_entries(new)
            change.entries += _dataset_entries(old) if old is not None and not old.gone else []
        if old is not None and old.document != new.document:
            change.nodes += [node_id(pk, Kind.DATASET), node_id(pk, Kind.DATASET_JSON)]
        return pk

    def _dataset_name(self, organization: int, pk: int, facts: DatasetFacts, plain: str) -> str:
        def is_taken(name: str) -> bool:
            sql = "SELECT 1 FROM dataset WHERE organization = ? AND gone_ns = 0 AND file_name = ? AND pk <> ?"
            return self._row(sql, (organization, name, pk)) is not None

        return naming.claim(plain, names.tag(facts.remote_id, "dataset", facts.name), is_taken)


def _dataset_entries(row: DatasetRow) -> list[tuple[int, str]]:
    """The names that lead to a dataset, the hidden ones among them."""
    hidden = {row.file_name, row.name, row.slug, row.remote_id} - {""}
    return [(node_id(row.organization, Kind.ORGANIZATION), name) for name in sorted(hidden) if not name.startswith("/")]
