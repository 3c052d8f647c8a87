"""The fetching process against everything that goes wrong at the service, on the wire and on this machine."""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pictofs.catalog.model import MEDIA_BLOCK_BYTES, ROOT_NODE, ImageRow, Kind, node_id, node_pk
from pictofs.emulator.launch import Running

from .conftest import BIG_BYTES, DATASET, IMAGES, Start
from .fetching import Mount, Process, Refused, served

SECRET = "pk_live_emulator"


def image_node(row: ImageRow) -> int:
    return node_id(row.pk, Kind.IMAGE)


def annotation_node(row: ImageRow) -> int:
    return node_id(row.annotation, Kind.ANNOTATION)


def path_of(mount: Mount, row: ImageRow) -> str:
    directory = mount.reader.directory(row.directory)
    assert directory is not None
    return f"{directory.remote_path.strip('/')}/{row.file_name}".lstrip("/")


def source_of(folder: Path, kind: str, name: str) -> Path | None:
    """The served file of that name; names are unique in the folder, and dialect A tells no directories."""
    return next((folder / DATASET / kind).rglob(name), None)


def check_images(mount: Mount, folder: Path, rows: list[ImageRow]) -> None:
    """Every image, byte for byte."""
    waits = [mount.send_want(image_node(row)) for row in rows]
    for number in waits:
        mount.answer(number)
    for row in rows:
        source = source_of(folder, "images", row.file_name)
        assert source is not None
        assert mount.read(image_node(row)) == source.read_bytes(), row.file_name


def refused(call: Any, *arguments: Any, **named: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value


# what is right when nothing goes wrong


@pytest.mark.parametrize("dialect", ["a", "b", "c"])
def test_in_each_dialect_every_image_annotation_and_export_is_the_source_s(
    dialect: str, emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, dialect=dialect)
    with served(tmp_path, emulator) as mount:
        assert mount.attached.dialects == [dialect]
        rows = mount.list(DATASET)
        assert len(rows) == IMAGES
        for row in rows:
            if row.size_bytes is None:
                mount.look(image_node(row))
        check_images(mount, folder, rows)
        for row in rows:
            mount.look(annotation_node(row))
            path = source_of(folder, "annotations", row.file_name.replace(".jpg", ".json"))
            expected = json.loads(path.read_text())["annotations"] if path else []
            assert json.loads(mount.read(annotation_node(row)))["annotations"] == expected
        dataset = mount.dataset(DATASET)
        mount.look(node_id(dataset.pk, Kind.EXPORTS))
        (export,) = mount.reader.exports(dataset.pk)
        node = node_id(export.pk, Kind.EXPORT)
        if export.size_bytes is None:
            mount.look(node)
        assert mount.read(node) == (folder / DATASET / "exports" / "all.zip").read_bytes()
        counters = emulator.counters()
        assert counters["storage"]["keys"] == []
        assert counters["storage"]["authorization"] == 0


def test_an_image_counted_without_annotations_costs_no_request(emulator: Running, tmp_path: Path) -> None:
    with served(tmp_path, emulator) as mount:
        empty = [row for row in mount.list(DATASET) if row.annotation_count == 0]
        assert empty
        for row in empty:
            mount.look(annotation_node(row))
            assert mount.read(annotation_node(row)) == b'{\n  "annotations": []\n}\n'
        routes = emulator.counters()["api"]["routes"]
        assert not [route for route in routes if "annotations" in route]


def test_a_dataset_beyond_the_batch_s_cap_is_whole(emulator_of: Start, folder: Path, tmp_path: Path) -> None:
    # `complete` has 12 images, the batch holds 5: by status, and then one by one
    emulator = emulator_of(data=folder, batch_cap=5)
    with served(tmp_path, emulator) as mount:
        check_images(mount, folder, mount.list(DATASET))
        assert emulator.counters()["storage"]["most_requests_of_one_path"] == 1


def test_links_without_ids_and_directories_still_lead_to_the_right_bytes(
    emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, sparse_items=True)
    with served(tmp_path, emulator) as mount:
        check_images(mount, folder, mount.list(DATASET))


def test_two_mounts_at_once_fetch_each_object_once(emulator: Running, folder: Path, tmp_path: Path) -> None:
    with (
        served(tmp_path, emulator) as one,
        Mount(tmp_path, emulator.base_url, emulator.api_key) as other,
    ):
        numbers = [(mount, mount.send_look(ROOT_NODE)) for mount in (one, other)]
        for mount, number in numbers:
            mount.answer(number)
        root = node_id(one.dataset(DATASET).root_directory, Kind.IMAGES)
        numbers = [(mount, mount.send_look(root)) for mount in (one, other)]
        for mount, number in numbers:
            mount.answer(number)
        rows = list(one.images(DATASET))
        numbers = [(mount, mount.send_want(image_node(row))) for row in rows for mount in (one, other)]
        for mount, number in numbers:
            mount.answer(number)
        check_images(other, folder, rows)
        counters = emulator.counters()
        assert counters["storage"]["requests"] == IMAGES
        assert counters["storage"]["most_requests_of_one_path"] == 1
        assert counters["api"]["routes"]["GET /images/"] == 1


# signed URLs


def test_urls_that_live_two_seconds_are_refreshed_before_they_expire(
    emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, url_ttl=2)
    with served(tmp_path, emulator) as mount:
        rows = mount.list(DATASET)
        begun = time.monotonic()
        for number, row in enumerate(rows):  # spread over twice the life of a URL
            mount.want(image_node(row))
            due = begun + 4 * number / len(rows)
            mount.until(lambda due=due: time.monotonic() > due)
        check_images(mount, folder, rows)
        assert emulator.counters()["storage"]["statuses"].get("400", 0) <= 2
        assert emulator.counters()["api"]["routes"]["GET /datasets/{dataset}/download"] <= 5


def test_urls_that_are_nearly_over_when_their_batch_has_come_still_lead_to_the_bytes(
    emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    """In dialect A nothing but batches leads to an image."""
    emulator = emulator_of(data=folder, dialect="a", url_ttl=2)  # of whole seconds: a URL lives one to two
    emulator.fault("api", "slow", "*/download", bytes_per_s=512 * IMAGES / 1.5)
    with served(tmp_path, emulator, timeout_s=15.0) as mount:
        rows = mount.list(DATASET)
        for number in [mount.send_look(image_node(row)) for row in rows]:
            mount.answer(number)
        check_images(mount, folder, rows)


def test_a_url_that_the_storage_host_refuses_is_replaced_once_for_all(
    emulator: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, emulator) as mount:
        rows = mount.list(DATASET)
        mount.want(image_node(rows[0]))
        emulator.fault("storage", "expire")
        begun = int(time.time())  # V4 dates are whole seconds: a URL of this one counts as signed before
        mount.until(lambda: time.time() >= begun + 1.1)
        check_images(mount, folder, rows)
        assert emulator.counters()["api"]["routes"]["GET /datasets/{dataset}/download"] == 2


def test_a_storage_host_that_refuses_everything_costs_few_batches_and_the_api_serves(
    emulator: Running, folder: Path, tmp_path: Path
) -> None:
    emulator.fault("storage", "status", status=403)
    with served(tmp_path, emulator) as mount:
        check_images(mount, folder, mount.list(DATASET))
        assert emulator.counters()["api"]["routes"]["GET /datasets/{dataset}/download"] <= 4


# the wire


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("status", {"status": 503, "probability": 0.05}),
        ("reset", {"probability": 0.05, "after_bytes": 1000}),
        ("truncate", {"count": 3}),
        ("corrupt", {"count": 1}),  # wrong twice is an error, and a retry may come before the next image
    ],
)
def test_transfers_that_fail_now_and_then_are_made_good(
    kind: str, parameters: dict[str, Any], emulator: Running, folder: Path, tmp_path: Path
) -> None:
    emulator.fault("storage", kind, **parameters)
    with served(tmp_path, emulator) as mount:
        check_images(mount, folder, mount.list(DATASET))


def test_a_byte_that_is_always_wrong_is_eio_and_never_enters_the_store(
    emulator: Running, tmp_path: Path
) -> None:
    emulator.fault("storage", "corrupt")
    with served(tmp_path, emulator) as mount:
        row = mount.list(DATASET)[0]
        assert refused(mount.want, image_node(row)).errno == errno.EIO
        assert mount.reader.blocks(image_node(row)) == []


def test_a_listing_that_breaks_off_is_an_error_and_not_a_shorter_list(
    emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, page_cap=10)
    number = emulator.fault("api", "status", "*/images/", status=500, skip=1)
    with served(tmp_path, emulator, timeout_s=3.0) as mount:
        mount.look(ROOT_NODE)
        dataset = mount.dataset(DATASET)
        root = node_id(dataset.root_directory, Kind.IMAGES)
        assert refused(mount.look, root).errno == errno.EIO
        assert mount.dataset(DATASET).listed_ns == 0
        seen = list(mount.images(DATASET))
        assert 0 < len(seen) < IMAGES, "names of the page that came resolve"
        emulator.remove_fault(number)
        deadline = time.monotonic() + 20
        while not mount.dataset(DATASET).listed_ns:
            assert time.monotonic() < deadline
            try:
                mount.look(root)
            except Refused:
                mount.until(lambda: True)
        assert len(list(mount.images(DATASET))) == IMAGES


def test_once_listed_a_failed_listing_serves_what_is_known(changing: Running, tmp_path: Path) -> None:
    with served(tmp_path, changing, ttl_s=0.2) as mount:
        mount.list(DATASET)
        changing.fault("api", "garbage", "*/images/")
        changing.mutate("add_image", dataset=DATASET, filename="new.jpg", content="aGVsbG8=")
        mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 200_000_000)
        mount.look(node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES))
        assert len(list(mount.images(DATASET))) == IMAGES
        changing.clear_faults()
        deadline = time.monotonic() + 10
        while len(list(mount.images(DATASET))) == IMAGES:
            assert time.monotonic() < deadline, "the next try comes after the backoff"
            mount.look(node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES))


# the budget


def test_a_retry_after_beyond_the_timeout_is_eagain_at_once_and_names_the_setting(
    emulator: Running, tmp_path: Path
) -> None:
    with served(tmp_path, emulator) as mount:
        row = next(row for row in mount.list(DATASET) if row.annotation_count)
        emulator.fault("api", "status", "*annotations*", status=429, retry_after=120)
        began = time.monotonic()
        failed = refused(mount.look, annotation_node(row))
        assert failed.errno == errno.EAGAIN
        assert time.monotonic() - began < 4
        assert "timeout=" in str(failed)
        assert "timeout=" in (tmp_path / "fetch.log").read_text()


def test_a_short_retry_after_is_waited_out(emulator: Running, tmp_path: Path) -> None:
    emulator.fault("api", "status", "*/images/", status=429, retry_after=1, count=1)
    with served(tmp_path, emulator) as mount:
        assert len(mount.list(DATASET)) == IMAGES


def test_a_body_whose_age_is_in_doubt_never_takes_the_reserve(
    emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, rate_limit=100)
    with served(tmp_path, emulator, ttl_s=0.1) as mount:
        rows = [row for row in mount.list(DATASET) if row.annotation_count]
        for row in rows:
            mount.look(annotation_node(row))
        deadline = time.monotonic() + 20
        while mount.ask("status")["budget"]["remaining"] > 10:
            assert time.monotonic() < deadline
            for row in rows:
                mount.look(annotation_node(row), force=False)
            mount.look(ROOT_NODE, force=True)
        before = emulator.counters()["api"]["routes"]["GET /annotations/{dataset}/{path:path}"]
        looked_ns = time.time_ns()
        mount.until(lambda: time.time_ns() - looked_ns > 1_500_000_000)  # older than ten ttl
        for row in rows:
            mount.look(annotation_node(row))
        assert emulator.counters()["api"]["routes"]["GET /annotations/{dataset}/{path:path}"] <= before + 1


# the service is away


def test_while_the_service_is_away_what_is_known_is_served_and_what_is_not_is_eio(
    changing: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, changing, ttl_s=0.5, timeout_s=4.0) as mount:
        rows = mount.list(DATASET)
        mount.want(image_node(rows[0]))
        for host in ("api", "storage"):
            changing.fault(host, "refuse")
        mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 500_000_000)
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        mount.look(root)
        mount.look(ROOT_NODE)
        mount.until(lambda: bool(mount.states))
        assert not mount.states[-1].online
        check_images(mount, folder, rows[:1])
        began = time.monotonic()
        assert refused(mount.want, image_node(rows[1])).errno == errno.EIO
        assert time.monotonic() - began < 8
        began = time.monotonic()
        mount.look(root)
        assert time.monotonic() - began < 1, "a service known to be away is not waited for"
        changing.clear_faults()
        changing.mutate("add_image", dataset=DATASET, filename="new.jpg", content="aGVsbG8=")
        mount.until(lambda: mount.states[-1].online)
        mount.until(lambda: any(root in changed.nodes for changed in mount.changed))
        mount.look(root)
        assert len(list(mount.images(DATASET))) == IMAGES + 1
        check_images(mount, folder, rows)


def test_offline_off_fails_where_auto_serves_and_on_asks_nobody(
    emulator: Running, tmp_path: Path
) -> None:
    with served(tmp_path, emulator, ttl_s=0.1) as mount:
        rows = mount.list(DATASET)
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        asked = emulator.counters()["api"]["requests"]
        with Mount(tmp_path, emulator.base_url, emulator.api_key, ttl_s=0.1, offline="on") as silent:
            mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 100_000_000)
            silent.look(root)
            silent.look(ROOT_NODE)
            assert refused(silent.want, image_node(rows[0])).errno == errno.EIO
            assert emulator.counters()["api"]["requests"] == asked
            # a want of another mount is not held back by it
            numbers = [(m, m.send_want(image_node(rows[1]))) for m in (silent, mount)]
            assert refused(silent.answer, numbers[0][1]).errno == errno.EIO
            mount.answer(numbers[1][1])
        given = {"ttl_s": 0.1, "timeout_s": 2, "offline": "off"}
        with Mount(tmp_path, emulator.base_url, emulator.api_key, **given) as strict:
            emulator.fault("api", "refuse")
            mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 100_000_000)
            assert refused(strict.look, root).errno == errno.EIO
            mount.look(root)


def test_a_remount_without_the_service_serves_what_was_known(
    emulator: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, emulator) as mount:
        rows = mount.list(DATASET)
        mount.want(image_node(rows[0]))
    emulator.fault("api", "refuse")
    emulator.fault("storage", "refuse")
    with served(tmp_path, emulator, ttl_s=0.1, timeout_s=3.0) as mount:
        mount.look(node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES))
        assert len(list(mount.images(DATASET))) == IMAGES
        check_images(mount, folder, rows[:1])


def test_nothing_known_and_nobody_there_is_exit_code_4_and_a_wrong_key_is_3(
    emulator: Running, tmp_path: Path
) -> None:
    with Process(tmp_path) as process:
        assert process.word["ready"]
        failed = refused(Mount, tmp_path, "http://127.0.0.1:1", "pk_live_secret_1", timeout_s=1.0)
        assert failed.exit_code == 4
        failed = refused(Mount, tmp_path, emulator.base_url, "pk_live_secret_2")
        assert (failed.exit_code, failed.errno) == (3, errno.EACCES)
        log = process.log()
    assert "pk_live" not in log


# the key


def test_a_revoked_key_ends_what_is_served_and_a_restored_one_begins_it_again(
    changing: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, changing, ttl_s=0.2) as mount:
        rows = mount.list(DATASET)
        mount.want(image_node(rows[0]))
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        changing.mutate("revoke_key")
        mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 200_000_000)
        assert refused(mount.look, root).errno == errno.EACCES
        mount.until(lambda: bool(mount.states))
        assert mount.states[-1].refused
        assert refused(mount.want, image_node(rows[1])).errno == errno.EACCES
        assert refused(mount.look, ROOT_NODE).errno == errno.EACCES
        changing.mutate("restore_key")
        mount.until(lambda: not mount.states[-1].refused)
        mount.look(root)
        check_images(mount, folder, rows[:3])


def test_within_auth_grace_a_revoked_key_serves_what_is_known(changing: Running, tmp_path: Path) -> None:
    with served(tmp_path, changing, ttl_s=0.2, auth_grace_s=60.0) as mount:
        rows = mount.list(DATASET)
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        changing.mutate("revoke_key")
        mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 200_000_000)
        mount.look(root)
        mount.until(lambda: bool(mount.states))
        assert mount.states[-1].refused
        assert len(list(mount.images(DATASET))) == len(rows)


def test_a_403_on_one_thing_is_that_thing_s_own(emulator: Running, tmp_path: Path) -> None:
    with served(tmp_path, emulator) as mount:
        one, other = [row for row in mount.list(DATASET) if row.annotation_count][:2]
        emulator.fault("api", "status", f"*annotations*{one.file_name}", status=403)
        assert refused(mount.look, annotation_node(one)).errno == errno.EACCES
        mount.look(annotation_node(other))
        assert mount.states == []


# versions


def test_an_image_replaced_in_the_middle_is_stale_and_never_a_mixture(
    emulator_of: Start, big_folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=big_folder)
    with served(tmp_path, emulator) as mount:
        (old,) = mount.list(DATASET)
        first = mount.block(image_node(old), 0)
        emulator.mutate("replace_image", dataset=DATASET, image="big.jpg", size=BIG_BYTES)
        assert refused(mount.block, image_node(old), 1).errno == errno.ESTALE
        (new,) = mount.images(DATASET)
        assert new.pk != old.pk
        assert new.ino == old.ino
        entry = (node_id(old.directory, Kind.IMAGES), old.file_name)
        assert any(entry in changed.entries for changed in mount.changed)
        body = mount.read(image_node(new))
        assert len(body) == new.size_bytes
        assert body[:MEDIA_BLOCK_BYTES] != first
        assert refused(mount.want, image_node(old), 2, 2).errno == errno.ESTALE
        assert mount.block(image_node(old), 0) == first, "what was whole of the old version stays readable"
        assert {row.node for row in mount.reader.blocks(image_node(new))} == {image_node(new)}
        assert len(mount.reader.blocks(image_node(old))) == 1


def test_an_image_of_another_size_is_another_version_too_and_a_listing_does_not_undo_it(
    changing: Running, tmp_path: Path
) -> None:
    with served(tmp_path, changing) as mount:
        rows = mount.list(DATASET)
        changing.mutate(
            "replace_image", dataset=DATASET, image=path_of(mount, rows[0]), content="aGVsbG8=", touch=False
        )
        assert refused(mount.want, image_node(rows[0])).errno == errno.ESTALE
        new = mount.reader.image_named(rows[0].directory, rows[0].file_name)
        assert new is not None
        assert new.size_bytes == 5
        assert mount.read(image_node(new)) == b"hello"
        mount.list(DATASET, force=True)
        again = mount.reader.image_named(rows[0].directory, rows[0].file_name)
        assert again is not None
        assert mount.read(image_node(again)) == b"hello"


def test_changes_at_the_service_are_seen_by_the_next_look_after_a_ttl(
    changing: Running, tmp_path: Path
) -> None:
    with served(tmp_path, changing, ttl_s=0.2) as mount:
        rows = mount.list(DATASET)
        by_path = {path_of(mount, row): row for row in rows}
        deleted, replaced, renamed = [row for row in rows if "/" not in path_of(mount, row)][:3]
        changing.mutate("delete_image", dataset=DATASET, image=path_of(mount, deleted))
        changing.mutate("replace_image", dataset=DATASET, image=path_of(mount, replaced), content="aGVsbG8=")
        changing.mutate("rename_image", dataset=DATASET, image=path_of(mount, renamed), filename="other.jpg")
        changing.mutate(
            "add_image", dataset=DATASET, filename="new.jpg", directory_path="/n", content="aGVsbG8="
        )
        mount.until(lambda: time.time_ns() - mount.dataset(DATASET).checked_ns > 200_000_000)
        mount.look(node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES))
        after = {path_of(mount, row): row for row in mount.images(DATASET)}
        gone = {deleted.file_name, renamed.file_name}
        assert set(after) == set(by_path) - gone | {"other.jpg", "n/new.jpg"}
        assert mount.read(image_node(after[replaced.file_name])) == b"hello"
        entries = {entry for changed in mount.changed for entry in changed.entries}
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        assert {(root, deleted.file_name), (root, replaced.file_name), (root, renamed.file_name)} <= entries


def test_a_renamed_dataset_keeps_serving_and_a_deleted_one_is_gone(
    changing: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, changing, ttl_s=0.2) as mount:
        rows = mount.list(DATASET)
        changing.mutate("rename_dataset", dataset=DATASET, name="Renamed")
        check_images(mount, folder, rows[:2])  # the batch names the dataset: by its old name it is 404
        row = next(row for row in rows if row.annotation_count)
        mount.look(annotation_node(row))
        mount.look(ROOT_NODE, force=True)
        assert mount.reader.dataset_named(mount.organization, DATASET) is None
        pk = mount.dataset("Renamed").pk
        changing.mutate("delete_dataset", dataset="Renamed")
        mount.look(node_id(pk, Kind.DATASET), force=True)
        gone = mount.reader.dataset(pk)
        assert gone is not None
        assert gone.gone


@pytest.mark.parametrize("frozen", [False, True])
def test_an_annotation_edited_at_equal_count_is_seen(
    frozen: bool, emulator_of: Start, folder: Path, tmp_path: Path
) -> None:
    emulator = emulator_of(data=folder, freeze_updated_at=frozen)
    ttl_s = 0.2
    with served(tmp_path, emulator, ttl_s=ttl_s) as mount:
        row = next(row for row in mount.list(DATASET) if row.annotation_count)
        mount.look(annotation_node(row))
        before = mount.read(annotation_node(row))
        emulator.mutate("edit_annotation", dataset=DATASET, image=path_of(mount, row), keep_count=True)
        edited_s = time.monotonic()
        bound_s = (11 if frozen else 2) * ttl_s + 3
        while True:
            mount.look(node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES))
            mount.look(annotation_node(row))
            current = mount.reader.image(row.pk)
            assert current is not None
            if current.annotation != row.annotation:
                break
            assert time.monotonic() - edited_s < bound_s
        assert mount.read(annotation_node(current)) != before
        assert mount.read(annotation_node(row)) == before, "the old version is whole on disk"


def test_an_export_replaced_under_the_same_name_is_stale_and_never_a_mixture(
    changing: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, changing) as mount:
        mount.list(DATASET)
        dataset = mount.dataset(DATASET)
        mount.look(node_id(dataset.pk, Kind.EXPORTS))
        (old,) = mount.reader.exports(dataset.pk)
        node = node_id(old.pk, Kind.EXPORT)
        mount.block(node, 0)
        changing.mutate("delete_export", dataset=DATASET, export="all")
        changing.mutate("add_export", dataset=DATASET, name="all", content="UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==")
        assert refused(mount.want, node, 1, 1).errno == errno.ESTALE
        (new,) = mount.reader.exports(dataset.pk)
        assert new.pk != old.pk
        assert len(mount.read(node_id(new.pk, Kind.EXPORT))) == new.size_bytes


# this machine


def test_a_process_killed_in_the_middle_leaves_what_the_next_one_goes_on_with(
    emulator: Running, folder: Path, tmp_path: Path
) -> None:
    emulator.fault("storage", "slow", bytes_per_s=4000, skip=6)
    process = Process(tmp_path)
    try:
        mount = Mount(tmp_path, emulator.base_url, emulator.api_key)
        rows = mount.list(DATASET)
        numbers = [mount.send_want(image_node(row)) for row in rows]
        mount.until(lambda: mount.reader.block_totals()[1] >= 6)
    finally:
        process.kill()
    mount.close()
    assert numbers
    emulator.clear_faults()
    before = emulator.counters()["storage"]["requests"]
    with served(tmp_path, emulator) as mount:
        check_images(mount, folder, list(mount.images(DATASET)))
        assert emulator.counters()["storage"]["requests"] - before <= IMAGES - 6


def test_a_block_that_vanished_or_rotted_on_disk_is_fetched_again(
    emulator: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, emulator) as mount:
        rows = mount.list(DATASET)[:3]
        check_images(mount, folder, rows)
        paths = []
        for row in rows:
            block = mount.reader.block(image_node(row), 0)
            assert block is not None
            paths.append(tmp_path / block.path)
        paths[0].unlink()
        rotten = bytearray(paths[1].read_bytes())
        rotten[100] ^= 1
        paths[1].write_bytes(rotten)
        before = emulator.counters()["storage"]["requests"]
        for row in rows:
            mount.want(image_node(row), lost=True)
        check_images(mount, folder, rows)
        assert emulator.counters()["storage"]["requests"] - before == 2, "the sound one was only verified"


@pytest.mark.parametrize("eviction", ["epoch", "lru", "fifo"])
def test_a_cache_that_is_too_small_still_gives_every_reader_its_bytes(
    eviction: str, emulator: Running, folder: Path, tmp_path: Path
) -> None:
    limit = 50_000
    with served(tmp_path, emulator, f"--cache-size={limit}", f"--eviction={eviction}") as mount:
        rows = mount.list(DATASET)
        for row in rows:
            check_images(mount, folder, [row])
        files = [path for path in (tmp_path / "store").rglob("*.*") if "cache.db" not in path.name]
        stored = sum(path.stat().st_size for path in files)
        assert 0 < stored <= limit


def test_pins_and_refresh_are_told_over_the_link_without_attaching(changing: Running, tmp_path: Path) -> None:
    from pictofs.link import Client
    from pictofs.link.messages import Ask, Failed, Told

    with served(tmp_path, changing) as mount:
        mount.list(DATASET)
        root = node_id(mount.dataset(DATASET).root_directory, Kind.IMAGES)
        client = Client(str(tmp_path / "fetch.sock"))
        client.connect()
        assert client.exchange(Ask(1, "pin", {"nodes": [root]}), 10) == Told(1, {"pinned": [root]})
        assert client.exchange(Ask(2, "unpin", {"nodes": [root]}), 10) == Told(2, {"pinned": []})
        changing.mutate("add_image", dataset=DATASET, filename="new.jpg", content="aGVsbG8=")
        assert client.exchange(Ask(3, "refresh", {"nodes": [root]}), 10) == Told(3, {"refreshed": 1})
        assert len(list(mount.images(DATASET))) == IMAGES + 1
        failed = client.exchange(Ask(4, "dance", {}), 10)
        assert isinstance(failed, Failed)
        assert failed.exit_code == 2
        client.close()


def test_status_tells_what_interfaces_promise_and_no_secret(emulator: Running, tmp_path: Path) -> None:
    with served(tmp_path, emulator) as mount:
        rows = mount.list(DATASET)
        mount.want(image_node(rows[0]))
        emulator.fault("storage", "corrupt")
        refused(mount.want, image_node(rows[1]))
        status = mount.ask("status")
        assert status["dialect"] == "c"
        assert status["online"] is True
        assert status["requests"]["api"] == emulator.counters()["api"]["requests"]
        assert status["requests"]["storage"] == emulator.counters()["storage"]["requests"]
        assert status["bytes_fetched"] >= rows[0].size_bytes
        cache = {name: status["cache"][name] for name in ("dir", "bytes", "files")}
        assert cache == {"dir": str(tmp_path), "bytes": rows[0].size_bytes, "files": 1}
        assert status["cache"]["limit"] > 0
        assert 0 < status["budget"]["remaining"] < status["budget"]["limit"] == 100_000
        assert status["queue"] == {"demand": 0, "look_ahead": 0, "fill": 0}
        assert status["datasets"] == [{"name": DATASET, "images": IMAGES, "cached": 1, "bytes": None}]
        mount.until(lambda: mount.ask("status")["datasets"][0]["bytes"] == rows[0].size_bytes)
        assert status["flights"] == []
        assert status["links"]["urls"] >= IMAGES
        assert 0 < status["links"]["expires"] < 24 * 3600
        assert status["transfers"] > 0
        assert status["errors"][-1]["what"]
        assert status["pids"]["fetching"] == mount.attached.pid
        text = json.dumps(status) + (tmp_path / "fetch.log").read_text()
        assert SECRET not in text
        assert "X-Goog-Signature" not in text


# the process


def test_one_process_serves_a_cache_directory_and_a_second_says_so_and_ends(tmp_path: Path) -> None:
    with Process(tmp_path) as first, Process(tmp_path) as second:
        assert first.word["ready"]
        assert second.word == {"error": "held"}
        assert second.child.wait(10) == 0
        assert first.child.poll() is None


def test_it_ends_by_itself_after_the_last_mount_and_leaves_no_socket(
    emulator: Running, tmp_path: Path
) -> None:
    process = Process(tmp_path, "--idle=0.3")
    with process, Mount(tmp_path, emulator.base_url, emulator.api_key):
        os.kill(process.child.pid, signal.SIGINT)
        with Mount(tmp_path, emulator.base_url, emulator.api_key):
            pass
        with pytest.raises(Exception, match="timed out"):
            process.child.wait(0.8)
    assert process.child.wait(10) == 0
    assert not (tmp_path / "fetch.sock").exists()
    assert "Traceback" not in process.log()


def test_sigterm_in_the_middle_of_transfers_ends_it_in_order(emulator: Running, tmp_path: Path) -> None:
    emulator.fault("storage", "stall")
    with Process(tmp_path) as process:
        mount = Mount(tmp_path, emulator.base_url, emulator.api_key)
        for row in mount.list(DATASET):
            mount.send_want(image_node(row))
        mount.until(lambda: emulator.counters(detail=False)["storage"]["in_flight"] > 0)
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 5
        mount.close()
        assert "Traceback" not in process.log()
    assert not (tmp_path / "fetch.sock").exists()


def test_a_want_that_is_cancelled_or_whose_mount_died_is_given_up(
    emulator: Running, tmp_path: Path
) -> None:
    emulator.fault("storage", "stall")
    with served(tmp_path, emulator, timeout_s=30.0) as mount:
        rows = mount.list(DATASET)
        number = mount.send_want(image_node(rows[0]))
        other = Mount(tmp_path, emulator.base_url, emulator.api_key, timeout_s=30.0)
        other.send_want(image_node(rows[1]))
        mount.until(lambda: mount.ask("status")["queue"]["demand"] == 2)
        status = mount.ask("status")
        assert {flight["path"] for flight in status["flights"]} == {
            f"{DATASET}/images/{path_of(mount, row)}" for row in rows[:2]
        }
        for flight in status["flights"]:
            assert (flight["priority"], flight["doing"]) == ("demand", "fetching")
            assert flight["pids"] == [os.getpid()]
        mount.cancel(number)
        other.close()
        mount.until(lambda: mount.ask("status")["queue"]["demand"] == 0)


@pytest.mark.parametrize(
    ("kind", "given"),
    [("stall", {"after_bytes": 4000}), ("slow", {"bytes_per_s": 200})],
    ids=["stall", "slow"],
)
def test_a_transfer_that_stalls_or_crawls_is_begun_again_where_it_is_and_not_waited_for(
    kind: str, given: dict[str, Any], emulator: Running, folder: Path, tmp_path: Path
) -> None:
    with served(tmp_path, emulator, timeout_s=4.0) as mount:
        row = mount.list(DATASET)[0]
        emulator.fault("storage", kind, "*", count=1, **given)
        begun_s = time.monotonic()
        check_images(mount, folder, [row])
        # two seconds below the floor; ten thousand bytes at this speed, or the end of a stall, take for ever
        assert time.monotonic() - begun_s < 4.0 + 6.0, "the machine may be slow, and is not that slow"
        assert emulator.counters()["storage"]["requests"] == 2


def test_a_storage_host_that_falls_silent_is_an_errno_within_the_timeout(
    emulator: Running, tmp_path: Path
) -> None:
    emulator.fault("storage", "stall")
    with served(tmp_path, emulator, timeout_s=2.0) as mount:
        row = mount.list(DATASET)[0]
        began = time.monotonic()
        assert refused(mount.want, image_node(row)).errno == errno.EIO
        assert time.monotonic() - began < 5


def test_settings_of_a_second_mount_that_do_not_count_are_told_to_it(
    emulator: Running, tmp_path: Path
) -> None:
    with (
        served(tmp_path, emulator, "--cache-size=1000000"),
        Mount(tmp_path, emulator.base_url, emulator.api_key, cache_size_bytes=5, jobs=3) as second,
    ):
        assert len(second.attached.notes) == 2
        assert any("cache_size=5" in note and "1000000" in note for note in second.attached.notes)


def test_two_keys_of_one_organization_share_its_partition(emulator: Running, tmp_path: Path) -> None:
    # in B and C the service names the organization; here the same key stands at two spellings of the base URL
    with (
        served(tmp_path, emulator) as one,
        Mount(tmp_path, emulator.base_url.removesuffix("/api/v1/developer"), emulator.api_key) as other,
    ):
        assert one.organization == other.organization
        one.list(DATASET)
        other.look(ROOT_NODE)
        assert node_pk(image_node(next(other.images(DATASET)))) > 0
        assert emulator.counters()["api"]["routes"]["GET /images/"] == 1
