"""The same promises of `pictofs.api` in all three dialects, against the emulator."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pictofs import errors
from pictofs.api import Client, Dataset, Image
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import STATUSES, EmulatorSettings

DIALECTS = ("a", "b", "c")
BIG = "Synthetic"


class World:
    """An emulator and a client of it that finds the dialect out by itself."""

    def __init__(self, emulator: Running, letter: str) -> None:
        self.emulator = emulator
        self.letter = letter
        self.client = self.another()

    def another(self, **options: Any) -> Client:
        key = options.pop("key", self.emulator.api_key)
        return Client(self.emulator.base_url, lambda: key, **options)

    def dataset(self, name: str = BIG) -> Dataset:
        return next(row for row in self.client.datasets.iter() if row.name == name)

    def images(self, dataset: Dataset | None = None, **options: Any) -> list[Image]:
        pages = self.client.images.pages(dataset or self.dataset(), **options)
        return [image for page in pages for image in page]

    def asked(self) -> int:
        count: int = self.emulator.counters(detail=False)["api"]["requests"]
        return count


@pytest.fixture(scope="module", params=DIALECTS)
def read_emulator(request: pytest.FixtureRequest) -> Iterator[tuple[Running, str]]:
    settings = EmulatorSettings(
        dialect=request.param, generate=12, images=2300, image_bytes=500, rate_limit=0
    )
    with start(settings) as emulator:
        yield emulator, request.param


@pytest.fixture(scope="module", params=DIALECTS)
def written_emulator(request: pytest.FixtureRequest) -> Iterator[tuple[Running, str]]:
    settings = EmulatorSettings(
        dialect=request.param,
        generate=4,
        images=300,
        datasets=12,
        image_bytes=0,
        rate_limit=0,
        hold_exports=True,
    )
    with start(settings) as emulator:
        yield emulator, request.param


@pytest.fixture
def shared(read_emulator: tuple[Running, str]) -> Iterator[World]:
    """For tests that only read; what they switch is switched back."""
    world = World(*read_emulator)
    with world.client:
        yield world
    world.emulator.switch(
        page_cap=1000, no_totals=False, sparse_items=False, annotation_urls="absolute", api_ranges=False
    )


@pytest.fixture
def played(written_emulator: tuple[Running, str]) -> Iterator[World]:
    """For tests that change things: each takes datasets that no other takes."""
    world = World(*written_emulator)
    with world.client:
        yield world
    world.emulator.mutate("set_role", role="owner")
    world.emulator.mutate("restore_key")
    world.emulator.switch(
        page_cap=1000, no_totals=False, freeze_updated_at=False, rate_limit=0, rate_window_s=3600
    )


def fetched(url: str) -> bytes:
    """The bytes behind a signed URL, asked for without a key."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body


# finding out


def test_one_request_finds_the_dialect_out_and_lists_the_datasets(shared: World) -> None:
    before = shared.asked()
    assert shared.client.dialect == shared.letter
    assert {row.name for row in shared.client.datasets.list(limit=1000)} == {"Street Scenes", BIG}
    assert shared.asked() - before == shared.client.requests == 1


def test_a_set_dialect_asks_nothing_to_find_it_out(shared: World) -> None:
    with shared.another(dialect=shared.letter) as client:
        assert client.dialect == shared.letter
        assert client.requests == 0


def test_the_organization_is_told_where_the_dialect_tells_it(shared: World) -> None:
    me = shared.client.organization.me()
    if shared.letter == "a":
        assert (me.id, me.name, me.slug) == ("", "organization", "")
    else:
        assert (me.name, me.slug) == ("Pictofs Emulator", "pictofs-emulator")
        assert json.loads(me.document)["id"] == me.id


def test_a_wrong_key_is_refused(shared: World) -> None:
    with shared.another(key="pk_live_wrong") as client, pytest.raises(errors.KeyRefused):
        client.organization.me()
    with (
        shared.another(key="pk_live_wrong", dialect=shared.letter) as client,
        pytest.raises(errors.KeyRefused),
    ):
        client.datasets.get("x")


# datasets


def test_a_dataset_is_the_same_by_name_by_id_and_in_the_list(shared: World) -> None:
    listed = shared.dataset("Street Scenes")
    named = [listed.name, listed.id, *([listed.slug] if listed.slug else [])]
    for found in (shared.client.datasets.get(name) for name in named):
        assert found == listed
    assert shared.client.datasets.get_by_id(listed.id) == listed
    assert (
        shared.client.datasets.get_by_name(listed.path_slug if shared.letter == "a" else listed.name)
        == listed
    )
    assert json.loads(listed.document)["id"] == listed.id
    assert listed.image_count == 12
    assert listed.created_ns > 0
    assert (listed.total_size > 0) is (shared.letter != "a")


def test_what_does_not_exist_is_not_found(shared: World) -> None:
    for named in ("no such dataset", "00000000-0000-4000-8000-000000000000", "../x", "a/b"):
        with pytest.raises(errors.NotFound):
            shared.client.datasets.get(named)


def test_embedded_images_come_with_the_dataset(shared: World) -> None:
    found = shared.client.datasets.get("Street Scenes", include_images=True, images_limit=5)
    assert found.images is not None
    assert len(found.images) == (12 if shared.letter == "a" else 5)


# images


def test_every_image_is_listed_exactly_once(shared: World) -> None:
    before = shared.client.requests
    dataset = shared.dataset()
    listed = shared.client.requests - before
    found = shared.images(dataset)
    assert len(found) == dataset.image_count == 2300
    assert len({image.id for image in found}) == 2300
    # B says 10,000 but the emulator cuts its pages to 1,000 like any other
    assert shared.client.requests - before - listed == (1 if shared.letter == "a" else 3)


def test_what_the_dialect_tells_of_an_image_is_known(shared: World) -> None:
    for image in shared.images(shared.dataset("Street Scenes")):
        assert image.filename.endswith(".jpg")
        assert image.annotation_count is not None
        if shared.letter == "a":
            assert (image.file_size, image.status, image.created_ns) == (None, "", 0)
            continue
        assert (image.width, image.height, image.content_type) == (640, 480, "image/jpeg")
        assert image.file_size
        assert image.status in STATUSES
        assert image.directory_path.startswith("/")
        assert image.created_ns > 0


@pytest.mark.parametrize("no_totals", [False, True])
@pytest.mark.parametrize(
    ("cap", "name"), [(1, "Street Scenes"), (2, "Street Scenes"), (7, "Street Scenes"), (90, BIG)]
)
def test_a_service_that_caps_its_pages_loses_no_image(
    shared: World, cap: int, name: str, no_totals: bool
) -> None:
    dataset = shared.dataset(name)
    shared.emulator.switch(page_cap=cap, no_totals=no_totals)
    found = shared.images(dataset)
    assert len({image.id for image in found}) == len(found) == dataset.image_count


@pytest.mark.parametrize("no_totals", [False, True])
def test_images_that_come_and_go_while_paging_hide_no_other(played: World, no_totals: bool) -> None:
    dataset = played.dataset(f"{BIG} 2")
    before = {image.id for image in played.images(dataset)}
    played.emulator.switch(page_cap=50, no_totals=no_totals)
    told: list[str] = []
    left = set()
    for number, page in enumerate(played.client.images.pages(dataset)):
        told += [image.id for image in page]
        if number < 3:
            played.emulator.mutate(
                "add_image", dataset=dataset.id, filename=f"late_{no_totals}_{number}.jpg", size=700
            )
            for image in page[: number + 2]:
                played.emulator.mutate("delete_image", dataset=dataset.id, image=image.id)
                left.add(image.id)
    assert len(told) == len(set(told))
    assert before - left <= set(told)


@pytest.mark.parametrize("letter", DIALECTS)
def test_a_dataset_of_more_than_ten_thousand_is_listed_whole(letter: str) -> None:
    settings = EmulatorSettings(dialect=letter, images=11_000, image_bytes=0)
    with start(settings) as emulator, Client(emulator.base_url, lambda: emulator.api_key) as client:
        (dataset,) = client.datasets.iter()
        before = client.requests
        found = {image.id for page in client.images.pages(dataset) for image in page}
        assert len(found) == 11_000
        assert client.requests - before <= 12
        batch = client.datasets.links(dataset)
        assert batch.capped is (letter != "a")
        assert len(batch.items) == (11_000 if letter == "a" else 10_000)
        if letter != "a":
            batches = [client.datasets.links(dataset, status=status) for status in STATUSES]
            assert {link.id for each in batches for link in each.items} == found


@pytest.mark.parametrize("status", ["new", "complete"])
def test_a_status_filters_the_listing_where_it_is_told(shared: World, status: str) -> None:
    if shared.letter == "a":
        with pytest.raises(errors.UsageError):
            shared.images(status=status)
        return
    everything = {image.id for image in shared.images() if image.status == status}
    assert {image.id for image in shared.images(status=status)} == everything
    assert everything
    assert {
        link.id for link in shared.client.datasets.links(shared.dataset(), status=status).items
    } == everything


def test_an_image_is_found_by_id_and_by_name(shared: World) -> None:
    dataset = shared.dataset("Street Scenes")
    image = shared.images(dataset)[3]
    assert shared.client.images.get(dataset, image.id if shared.letter != "a" else image.filename) == image
    assert shared.client.images.get(dataset, image.filename) == image
    assert shared.client.images.list(dataset, filename=image.filename) == [image]
    with pytest.raises(errors.NotFound):
        shared.client.images.get(dataset, "no such image")


# bytes and links


def test_the_bytes_by_api_are_those_behind_the_signed_url(shared: World) -> None:
    dataset = shared.dataset("Street Scenes")
    links = {link.id: link for link in shared.client.datasets.links(dataset).items}
    image = shared.images(dataset)[0]
    body = fetched(links[image.id].url)
    assert links[image.id].expires_s == pytest.approx(time.time() + 3600, abs=30)
    if shared.letter == "a":
        return
    assert shared.client.images.read(image) == (body, len(body))
    assert shared.client.images.read(image, 100, 199) == (body[100:200], len(body))
    assert shared.client.images.read(image, 100) == (body[100:], len(body))


def test_ranges_are_used_where_the_service_knows_them(shared: World) -> None:
    image = shared.images(shared.dataset("Street Scenes"))[0]
    if shared.letter == "a":
        with pytest.raises(errors.UsageError):
            shared.client.images.read(image)
        return
    shared.emulator.switch(api_ranges=True)
    body, total = shared.client.images.read(image)
    sent = shared.emulator.counters(detail=False)["api"]["bytes_sent"]
    assert shared.client.images.read(image, 100, 199) == (body[100:200], total)
    assert shared.client.images.read(image, total + 5, total + 9) == (b"", total)
    assert shared.emulator.counters(detail=False)["api"]["bytes_sent"] - sent == 100


@pytest.mark.parametrize("mode", ["full", "images_only", "annotations_only"])
def test_a_batch_holds_what_its_mode_says(shared: World, mode: str) -> None:
    batch = shared.client.datasets.links(shared.dataset("Street Scenes"), mode)
    assert len(batch.items) == 12
    assert all(bool(link.url) is (mode != "annotations_only") for link in batch.items)
    if mode == "images_only":
        assert not any(link.annotation_url for link in batch.items)


def test_items_without_ids_are_links_all_the_same(shared: World) -> None:
    shared.emulator.switch(sparse_items=True)
    items = shared.client.datasets.links(shared.dataset()).items
    assert len(items) == 2300
    assert {link.directory_path for link in items} == {None}
    if shared.letter != "a":
        assert {link.id for link in items} == {""}


# annotations


def test_every_images_annotations_are_its_own_whatever_its_name(shared: World) -> None:
    dataset = shared.dataset()
    images = shared.images(dataset)[:200]  # the names of the emulator repeat after 100
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda image: shared.client.annotations.get(dataset, image), images)
        for image, body in zip(images, bodies, strict=True):
            document = json.loads(body)
            assert len(document["annotations"]) == image.annotation_count, image.filename
            assert body == (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
            assert ("image" in document) is (shared.letter == "a")
            if shared.letter == "a":
                assert document["image"]["id"] == image.id


def test_a_path_made_of_hostile_names_leads_where_the_services_own_url_leads() -> None:
    settings = EmulatorSettings(dialect="c", images=100, names="hostile")
    with start(settings) as emulator, Client(emulator.base_url, lambda: emulator.api_key) as client:
        (dataset,) = client.datasets.iter()
        for image in client.images.iter(dataset):
            bare = Image(id=image.id, filename=image.filename, directory_path=image.directory_path)
            assert client.annotations.get(dataset, bare) == client.annotations.get(dataset, image)


@pytest.mark.parametrize("form", ["relative", "absolute", "foreign"])
def test_an_annotation_url_leads_to_the_configured_host_alone(shared: World, form: str) -> None:
    shared.emulator.switch(annotation_urls=form)
    dataset = shared.dataset("Street Scenes")
    for image in shared.images(dataset):
        body = json.loads(shared.client.annotations.get(dataset, image))
        assert len(body["annotations"]) == image.annotation_count


# exports


def test_the_exports_of_a_dataset_are_listed_with_their_signed_urls(shared: World) -> None:
    dataset = shared.dataset("Street Scenes")
    (export,) = shared.client.exports.iter(dataset)
    assert (export.name, export.status) == ("baseline", "completed")
    assert export.dataset_name == (dataset.slug if shared.letter == "a" else dataset.name)
    assert export.created_ns
    assert export.completed_ns
    assert b"http" not in export.document
    assert shared.client.exports.get(dataset, "baseline").id == export.id
    assert shared.client.exports.list(shared.dataset()) == []
    link = shared.client.exports.url(dataset, export)
    assert link.expires_s == pytest.approx(time.time() + 3600, abs=30)
    assert len(fetched(link.url)) == export.file_size
    with pytest.raises(errors.NotFound):
        shared.client.exports.get(dataset, "no such export")


def test_an_export_is_ordered_waited_for_and_deleted(played: World) -> None:
    dataset = played.dataset("Street Scenes")
    exports = played.client.exports
    ordered = exports.create(dataset, "v1 / ü", include_images=True, status_filter="complete")
    assert ordered.status == "pending"
    with pytest.raises(errors.Conflict):
        exports.create(dataset, "v1 / ü")
    with pytest.raises(errors.Unprocessable):
        exports.url(dataset, ordered)
    played.emulator.mutate("complete_export", dataset=dataset.id, export=ordered.name)
    done = exports.wait(dataset, ordered, timeout_s=20)
    assert done.status == "completed"
    assert fetched(exports.url(dataset, done).url)[:2] == b"PK"
    exports.delete(dataset, done)
    with pytest.raises(errors.NotFound):
        exports.get(dataset, done)


# writing datasets


def test_a_dataset_is_created_changed_and_deleted_where_the_dialect_can(played: World) -> None:
    projects = played.client.projects
    if played.letter == "a":
        with pytest.raises(errors.UsageError):
            projects.create("Neue Straße")
        return
    made = projects.create("Neue Straße", description="d", classes=[{"name": "car", "type": "bbox"}])
    with pytest.raises(errors.Conflict):
        projects.create("Neue Straße")
    changed = projects.update(made, new_name="Renamed", description="e")
    assert (changed.id, changed.name, changed.description) == (made.id, "Renamed", "e")
    assert projects.delete(changed)["id"] == made.id
    with pytest.raises(errors.NotFound):
        played.client.datasets.get_by_id(made.id)
    played.emulator.mutate("set_role", role="viewer")
    with pytest.raises(errors.Forbidden):
        projects.create("x")
    with pytest.raises(errors.Forbidden):
        projects.delete(BIG)


# what changes


def test_the_fingerprint_moves_with_the_counts_even_where_updated_at_is_frozen(played: World) -> None:
    played.emulator.switch(freeze_updated_at=True)
    before = played.dataset(f"{BIG} 3")
    assert played.client.datasets.get_by_id(before.id).fingerprint == before.fingerprint
    played.emulator.mutate("add_image", dataset=before.id, filename="new.jpg", size=700)
    after = played.client.datasets.get_by_id(before.id)
    assert after.fingerprint != before.fingerprint
    assert after.updated_ns == before.updated_ns


def test_a_dataset_that_is_renamed_meanwhile_stays_the_same_dataset(played: World) -> None:
    old, other = played.dataset(f"{BIG} 4"), played.dataset(f"{BIG} 5")
    played.emulator.mutate("rename_dataset", dataset=old.id, name="Moved")
    assert played.client.datasets.get_by_id(old.id).name == "Moved"
    assert len(played.images(old)) == 300
    played.emulator.mutate("rename_dataset", dataset=other.id, name=old.name)
    if played.letter == "c":
        assert len(played.client.datasets.links(old).items) == 300
    else:
        with pytest.raises(errors.NotFound):  # the name is another dataset's now
            played.client.datasets.links(old)


def test_archived_datasets_are_listed_when_asked_for(played: World) -> None:
    name = f"{BIG} 6"
    played.emulator.mutate("archive_dataset", dataset=name)
    assert name not in [row.name for row in played.client.datasets.iter()]
    assert [row.name for row in played.client.datasets.iter(archived=True)] == [name]
    assert played.client.datasets.list(archived=True)[0].is_archived is (played.letter != "a")


def test_many_datasets_are_all_listed_over_small_pages(played: World) -> None:
    whole = {row.id for row in played.client.datasets.iter()}
    played.emulator.switch(page_cap=3)
    assert {row.id for row in played.client.datasets.iter()} == whole
    assert len(played.client.datasets.iter(max_total=10).all()) == 10


# the budget and the key


def test_background_leaves_a_reserve_and_a_spent_budget_asks_nothing(played: World) -> None:
    dataset = played.dataset(f"{BIG} 7")
    played.emulator.switch(rate_limit=20)
    played.emulator.mutate("reset_rate_limit")
    with played.another() as client:
        with client.call_class(1):
            while (budget := client.budget) is None or budget.remaining > 2:
                client.datasets.get_by_id(dataset.id)
            with pytest.raises(errors.RateLimited) as caught:
                client.datasets.get_by_id(dataset.id)
        assert caught.value.retry_after_s is not None
        assert caught.value.retry_after_s > 3000
        assert (budget.limit, budget.remaining) == (20, 2)
        assert budget.reset_s == pytest.approx(time.time() + 3600, abs=30)
        for _ in range(2):
            client.datasets.get_by_id(dataset.id)
        asked = played.asked()
        with pytest.raises(errors.RateLimited):
            client.datasets.get_by_id(dataset.id)
        assert played.asked() == asked


def test_a_window_that_ends_soon_is_waited_for(played: World) -> None:
    played.emulator.switch(rate_limit=5, rate_window_s=1)
    played.emulator.mutate("reset_rate_limit")
    before = played.emulator.counters(detail=False)["api"]["statuses"].get("429", 0)
    with played.another() as client:
        for _ in range(7):
            client.datasets.list()
    assert played.emulator.counters(detail=False)["api"]["statuses"].get("429", 0) - before <= 1


def test_a_revoked_key_is_refused_and_a_restored_one_is_good_again(played: World) -> None:
    dataset = played.dataset(f"{BIG} 8")
    played.emulator.mutate("revoke_key")
    with pytest.raises(errors.KeyRefused):
        played.client.datasets.get_by_id(dataset.id)
    with pytest.raises(errors.KeyRefused):
        played.client.organization.me()
    played.emulator.mutate("restore_key")
    assert played.client.datasets.get_by_id(dataset.id).id == dataset.id


def test_eight_threads_share_one_client(shared: World) -> None:
    dataset = shared.dataset("Street Scenes")
    images = shared.images(dataset)
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda image: shared.client.annotations.get(dataset, image), images * 8))
    assert len(bodies) == 96
    assert shared.emulator.counters(detail=False)["api"]["connections_open"] <= 16


def test_the_key_went_to_the_api_alone(shared: World) -> None:
    dataset = shared.dataset("Street Scenes")
    shared.client.annotations.get(dataset, shared.images(dataset)[0])
    fetched(shared.client.datasets.links(dataset).items[0].url)
    counters = shared.emulator.counters(detail=False)
    assert counters["storage"]["keys"] == []
    assert shared.emulator.api_key in counters["api"]["keys"]
    assert counters["api"]["authorization"] == counters["storage"]["authorization"] == 0
