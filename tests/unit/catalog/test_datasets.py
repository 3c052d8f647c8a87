"""Organizations, datasets and exports."""

from __future__ import annotations

import pytest

from pictofs.catalog.model import Change, DatasetFacts, ExportFacts, Kind, node_id
from tests.unit.catalog.conftest import KEY, ORIGIN, World, dataset_facts, image, remote_id


def put(world: World, *facts: DatasetFacts, complete: bool = True) -> Change:
    world.now_s += 1
    return world.catalog.put_datasets(world.organization, facts, int(world.now_s), complete)


def file_names(world: World) -> list[str]:
    return [row.file_name for row in world.catalog.datasets(world.organization, archived=True)]


def export(number: int, name: str, **facts: object) -> ExportFacts:
    values: dict[str, object] = {
        "remote_id": remote_id(number), "remote_name": name, "status": "completed", "size_bytes": 100,
        "created_ns": number, "completed_ns": number + 1, "document": b"{}",
    }  # fmt: skip
    return ExportFacts(**{**values, **facts})  # type: ignore[arg-type]


def test_an_organization_is_known_by_a_key_that_is_not_in_the_file(world: World) -> None:
    catalog = world.catalog
    row = catalog.organization_for_key(ORIGIN, KEY)
    assert row is not None
    assert row.pk == world.organization
    assert catalog.organization_for_key(ORIGIN, KEY + "x") is None
    assert catalog.organization_for_key("https://elsewhere.test", KEY) is None
    again = catalog.put_organization(ORIGIN, "o", "New name", "org", b"{1}", "another key")
    assert (again.pk, again.name, again.document) == (world.organization, "New name", b"{1}")
    assert catalog.organization_for_key(ORIGIN, KEY) == again
    other = catalog.put_organization("https://elsewhere.test", "o", "Org", "org", b"{}", KEY)
    assert other.pk != world.organization
    assert catalog.organizations() == [again, other]
    catalog.close()
    for file in world.path.parent.iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_a_complete_list_is_remembered_and_an_attempt_too(world: World) -> None:
    world.catalog.touch_organization(world.organization, 77)
    row = world.catalog.organization(world.organization)
    assert row is not None
    assert (row.checked_ns, row.tried_ns) == (1, 77)
    put(world, dataset_facts())
    row = world.catalog.organization(world.organization)
    assert row is not None
    assert row.checked_ns == row.tried_ns == int(world.now_s)


def test_a_dataset_is_found_by_its_name_here_and_hidden_by_name_slug_and_id(world: World) -> None:
    put(world, dataset_facts(1, "a/b", slug="a-b"), dataset_facts(2, "a-b", slug="other"))
    catalog = world.catalog
    found = {
        name: catalog.dataset_named(world.organization, name)
        for name in ("a%2Fb", "a-b", "other", remote_id(1))
    }
    assert {name: row.remote_id for name, row in found.items() if row} == {
        "a%2Fb": remote_id(1), "a-b": remote_id(2), "other": remote_id(2), remote_id(1): remote_id(1),
    }  # fmt: skip
    assert catalog.dataset_named(world.organization, "none") is None


def test_of_datasets_that_want_one_name_the_first_created_has_it(world: World) -> None:
    put(world, dataset_facts(3, "same"), dataset_facts(2, "same"))
    rows = {row.remote_id: row.file_name for row in world.catalog.datasets(world.organization)}
    assert rows == {remote_id(2): "same", remote_id(3): "same~00000003"}
    put(world, dataset_facts(3, "same"), dataset_facts(2, "same"), dataset_facts(1, "same"))
    rows = {row.remote_id: row.file_name for row in world.catalog.datasets(world.organization)}
    assert rows[remote_id(2)] == "same", "a name once given stays"


def test_a_dataset_that_replaces_a_deleted_one_gets_its_name(world: World) -> None:
    put(world, dataset_facts(1, "scenes"))
    row, _ = world.catalog.put_dataset(world.organization, dataset_facts(2, "scenes"), 5)
    assert row.file_name == "scenes~00000002", "nobody has said yet that the other is gone"
    change = put(world, dataset_facts(2, "scenes"))
    assert file_names(world) == ["scenes"]
    assert (node_id(world.organization, Kind.ORGANIZATION), "scenes") in change.entries
    assert (node_id(world.organization, Kind.ORGANIZATION), "scenes~00000002") in change.entries


def test_a_renamed_dataset_has_the_same_pk_and_a_new_name(world: World) -> None:
    change = put(world, dataset_facts(1, "renamed"))
    row = world.catalog.dataset(world.dataset)
    assert row is not None
    assert (row.file_name, row.name) == ("renamed", "renamed")
    entries = {
        name for parent, name in change.entries if parent == node_id(world.organization, Kind.ORGANIZATION)
    }
    assert {"scenes", "renamed"} <= entries
    assert node_id(world.organization, Kind.ORGANIZATION) in change.nodes


def test_a_dataset_that_was_away_comes_back_as_it_was(world: World) -> None:
    world.list(image(1, "a.jpg"))
    change = put(world)
    assert file_names(world) == []
    row = world.catalog.dataset(world.dataset)
    assert row is not None
    assert row.gone
    assert (node_id(world.organization, Kind.ORGANIZATION), "scenes") in change.entries
    put(world, dataset_facts(1, "scenes"))
    row = world.catalog.dataset(world.dataset)
    assert row is not None
    assert (row.gone, row.file_name) == (False, "scenes")
    assert world.tree() == {"a.jpg": "a.json"}


def test_an_incomplete_list_takes_nothing_away(world: World) -> None:
    put(world, dataset_facts(2, "other"), complete=False)
    assert file_names(world) == ["other", "scenes"]


def test_an_unchanged_list_tells_nothing(world: World) -> None:
    facts = [dataset_facts(1, "scenes"), dataset_facts(2, "other")]
    put(world, *facts)
    assert not put(world, *facts)
    change = put(world, facts[0], dataset_facts(2, "other", document=b"new", fingerprint="2"))
    pk = world.catalog.dataset_named(world.organization, "other").pk  # type: ignore[union-attr]
    assert change.entries == []
    assert set(change.nodes) == {node_id(pk, Kind.DATASET), node_id(pk, Kind.DATASET_JSON)}


def test_archived_datasets_are_listed_only_when_asked_for(world: World) -> None:
    put(world, dataset_facts(1, "scenes", archived=True), dataset_facts(2, "other"))
    assert [row.file_name for row in world.catalog.datasets(world.organization)] == ["other"]
    assert file_names(world) == ["other", "scenes"]


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 200, "..", "a\0b", "lone \ud800 surrogate", "100%"])
def test_any_name_of_a_dataset_comes_back(world: World, name: str) -> None:
    put(world, dataset_facts(1, name, document=b"{}", slug=name))
    row = world.catalog.dataset(world.dataset)
    assert row is not None
    assert (row.name, row.slug) == (name, name)
    assert len(row.file_name.encode()) <= 255
    assert world.catalog.dataset_named(world.organization, row.file_name) == row


def test_counts_are_of_what_exists(world: World) -> None:
    put(
        world,
        dataset_facts(1, "scenes", image_count=50, total_bytes=9),
        dataset_facts(2, "b", image_count=7, total_bytes=70),
    )
    assert world.catalog.totals(world.organization).files == 57
    world.list(image(1, "a.jpg", size_bytes=20))
    totals = world.catalog.totals(world.organization)
    assert (totals.size_bytes, totals.files) == (90, 8)
    assert [(c.file_name, c.images, c.cached) for c in world.catalog.image_counts(world.organization)] == [
        ("b", 0, 0), ("scenes", 1, 0)]  # fmt: skip


def test_exports_have_stems_all_of_whose_forms_differ(world: World) -> None:
    world.catalog.put_exports(
        world.dataset,
        [export(1, "a"), export(2, "a"), export(3, "a.zip"), export(4, "a.status.json"), export(5, "v1.2"),
         export(6, "v1.2"), export(7, "x" * 250)],
        5,
    )  # fmt: skip
    stems = {row.remote_id: row.file_name for row in world.catalog.exports(world.dataset)}
    assert stems[remote_id(1)] == "a"
    assert stems[remote_id(2)] == "a~00000002"
    assert stems[remote_id(5)] == "v1.2"
    assert stems[remote_id(6)] == "v1.2~00000006"
    assert stems[remote_id(7)].endswith("~00000007")
    forms = [name for stem in stems.values() for name in (stem, stem + ".zip", stem + ".status.json")]
    assert len(set(forms)) == 21
    assert max(len(name.encode()) for name in forms) <= 255
    assert not world.catalog.put_exports(world.dataset, [export(n, name) for n, name in enumerate(
        ["a", "a", "a.zip", "a.status.json", "v1.2", "v1.2", "x" * 250], 1)], 6)  # fmt: skip


def test_an_export_that_is_completed_keeps_its_row_and_one_completed_again_does_not(world: World) -> None:
    def put_one(**facts: object) -> Change:
        return world.catalog.put_exports(world.dataset, [export(1, "coco", **facts)], 5)

    put_one(status="pending", completed_ns=0, size_bytes=None, document=b"1")
    pending = world.catalog.export_named(world.dataset, "coco")
    assert pending is not None
    change = put_one(document=b"2")
    completed = world.catalog.export_named(world.dataset, "coco")
    assert completed is not None
    assert (completed.pk, completed.status, completed.size_bytes) == (pending.pk, "completed", 100)
    assert (node_id(world.dataset, Kind.EXPORTS), "coco.zip") in change.entries
    assert {node_id(completed.pk, Kind.EXPORT_STATUS), node_id(world.dataset, Kind.EXPORTS)} <= set(
        change.nodes
    )
    change = put_one(completed_ns=99)
    again = world.catalog.export_named(world.dataset, "coco")
    assert again is not None
    assert again.pk != completed.pk
    assert again.ino == completed.ino
    assert world.catalog.export(completed.pk).gone  # type: ignore[union-attr]
    assert (node_id(world.dataset, Kind.EXPORTS), "coco.zip") in change.entries
    assert not put_one(completed_ns=99)


def test_an_export_that_is_completed_no_longer_is_another_version_which_keeps_its_name(world: World) -> None:
    world.catalog.put_exports(world.dataset, [export(1, "coco")], 5)
    (before,) = world.catalog.exports(world.dataset)
    change = world.catalog.put_exports(world.dataset, [export(1, "coco", status="expired")], 6)
    (after,) = world.catalog.exports(world.dataset)
    assert (after.file_name, after.ino, after.status) == (before.file_name, before.ino, "expired")
    assert world.catalog.export(before.pk).gone  # type: ignore[union-attr]
    assert (node_id(world.dataset, Kind.EXPORTS), "coco.zip") in change.entries
    assert not world.catalog.put_exports(world.dataset, [export(1, "coco", status="expired")], 7)


def test_a_size_learned_of_an_export_stays_until_its_version_changes(world: World) -> None:
    facts = export(1, "coco", size_bytes=None)
    world.catalog.put_exports(world.dataset, [facts], 5)
    row = world.catalog.exports(world.dataset)[0]
    world.catalog.put_export_truth(row.pk, 4096)
    world.catalog.put_exports(world.dataset, [facts], 6)
    assert world.catalog.exports(world.dataset)[0].size_bytes == 4096
    world.catalog.put_exports(world.dataset, [export(1, "coco", size_bytes=None, completed_ns=50)], 7)
    new = world.catalog.exports(world.dataset)[0]
    assert (new.pk != row.pk, new.size_bytes) == (True, None)


def test_an_export_that_is_not_listed_is_gone_and_its_name_free(world: World) -> None:
    world.catalog.put_exports(world.dataset, [export(1, "coco")], 5)
    change = world.catalog.put_exports(world.dataset, [export(2, "coco")], 6)
    assert [row.remote_id for row in world.catalog.exports(world.dataset)] == [remote_id(2)]
    assert (node_id(world.dataset, Kind.EXPORTS), "coco.zip") in change.entries
    dataset = world.catalog.dataset(world.dataset)
    assert dataset is not None
    assert dataset.exports_listed_ns == 6


def test_a_renamed_export_keeps_its_pk(world: World) -> None:
    world.catalog.put_exports(world.dataset, [export(1, "coco")], 5)
    before = world.catalog.exports(world.dataset)[0]
    change = world.catalog.put_exports(world.dataset, [export(1, "yolo")], 6)
    after = world.catalog.exports(world.dataset)[0]
    assert (after.pk, after.file_name) == (before.pk, "yolo")
    assert {name for _, name in change.entries} >= {"coco.zip", "yolo.zip"}
