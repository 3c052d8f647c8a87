"""Names in the catalog, against a model of twenty lines, for whatever a service may list in whatever order.

The alphabet is small and mean: names that are each other's marks, annotations and directories.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pictofs import names
from pictofs.catalog.columns import pack_directory
from pictofs.catalog.model import ImageFacts, Kind, node_id
from tests.unit.catalog.conftest import World, image, image_node, remote_id

NAMES = [
    "a", "a.jpg", "a.png", "a.json", "a.jpg.json", "a.jpg.png", "a~00000002.jpg", "a~00000002",
    "a~00000001-2.jpg", "b.jpg", "b", "a/b", ".", "x" * 260 + ".jpg", "x" * 251 + ".jpg", "x" * 250 + ".json",
]  # fmt: skip
PATHS = ["/", "/", "/", "/a", "/a.json", "/a.jpg", "/a/b", "/b/a"]
# In memory where there is such a place: each example syncs a new file several times.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


@given(st.text("./ab", max_size=8))
def test_an_extension_is_what_os_path_takes_for_one(name: str) -> None:
    assert names.split_extension(name) == os.path.splitext(name)


@st.composite
def listings(draw: st.DrawFn, most: int = 9) -> list[ImageFacts]:
    """A set of images with different ids; several may have been created at once."""
    numbers = draw(st.lists(st.integers(1, 12), unique=True, max_size=most))
    return [
        image(
            number,
            draw(st.sampled_from(NAMES)),
            draw(st.sampled_from(PATHS)),
            created_ns=draw(st.sampled_from([3, 7, 10 + number])),
            split=draw(st.sampled_from(["", "train", "val"])),
            status=draw(st.sampled_from(["new", "complete"])),
            size_bytes=draw(st.sampled_from([None, 5, 6])),
        )
        for number in numbers
    ]


@contextmanager
def a_world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        world = World(Path(folder) / "catalog.sqlite")
        try:
            yield world
        finally:
            world.catalog.close()


def settled(facts: list[ImageFacts]) -> dict[str, tuple[str, str]]:
    """The model: remote id → (path of the image, path of the annotation) after a first complete listing."""
    directories = {
        components[:depth]
        for one in facts
        for components in [pack_directory(one.directory_path)]
        for depth in range(1, len(components) + 1)
    }
    found: dict[str, tuple[str, str]] = {}
    for where in {pack_directory(one.directory_path) for one in facts}:
        here = [one for one in facts if pack_directory(one.directory_path) == where]
        here.sort(key=lambda one: (one.created_ns, one.remote_id))
        taken = {path[-1] for path in directories if path[:-1] == where}
        files = assigned(
            {one.remote_id: (names.encode(one.remote_name), names.encode(one.remote_name)) for one in here},
            taken,
        )
        jsons = assigned(
            {
                one.remote_id: (
                    f"{names.split_extension(files[one.remote_id])[0]}.json",
                    f"{files[one.remote_id]}.json",
                )
                for one in here
            },
            taken,
        )
        above = "".join(f"{part}/" for part in where)
        found |= {key: (above + files[key], above + jsons[key]) for key in files}
    return found


def assigned(wanted: dict[str, tuple[str, str]], taken: set[str]) -> dict[str, str]:
    """In order: first those who are the first to want a plain name, then the others with what is left."""
    given_names: dict[str, str] = {}
    used = set(taken)
    for key, (plain, _) in wanted.items():
        name = names.fit(plain, names.tag(key))
        if name not in used:
            used.add(name)
            given_names[key] = name
    for key, (_, second) in wanted.items():
        if key not in given_names:
            mark = names.tag(key)
            choices = itertools.chain(
                [names.fit(second, mark), names.marked(second, mark)],
                (names.marked(second, f"{mark}-{n}") for n in itertools.count(2)),
            )
            given_names[key] = next(name for name in choices if name not in used)
            used.add(given_names[key])
    return given_names


def paths(world: World) -> dict[str, tuple[str, str]]:
    return {
        row.remote_id: (above + row.file_name, above + row.annotation_name) for above, row in world.images()
    }


def check(world: World) -> None:
    """What holds after every listing: names are unique and fit, and what is kept is what would be counted."""
    rows = [row for _, row in world.images()]
    directories = [world.root]
    for directory in directories:
        subs = world.catalog.subdirectories(directory)
        directories += [sub.pk for sub in subs]
        here = [row for row in rows if row.directory == directory]
        for column in ("file_name", "annotation_name"):
            all_names = [getattr(row, column) for row in here] + [sub.file_name for sub in subs]
            assert len(set(all_names)) == len(all_names)
            assert all(len(name.encode()) <= 255 and "/" not in name for name in all_names)
        assert world.catalog.directory(directory).subdirectories == len(subs)  # type: ignore[union-attr]
        assert here or subs or directory == world.root, "no directory is empty"
    counts = world.catalog.image_counts(world.organization)[0]
    assert counts.images == len(rows)
    assert counts.cached == sum(world.catalog.whole(image_node(row.pk)) for row in rows)
    assert world.catalog.totals(world.organization).size_bytes == sum(row.size_bytes or 0 for row in rows)
    for field in ("split", "status"):
        views = world.catalog.views(world.dataset, field)
        assert {view.value for view in views} == {getattr(row, field) for row in rows} - {""}
        for view in views:
            within = [row for row in rows if getattr(row, field) == view.value]
            assert all(world.catalog.in_view(view.pk, row.pk) == (row in within) for row in rows)
            held = set()
            for row in within:
                directory = row.directory
                while directory:
                    held.add(directory)
                    directory = world.catalog.directory(directory).parent  # type: ignore[union-attr]
            for directory in directories:
                place = world.catalog.view_directory_for(view.pk, directory)
                assert (place is not None) == (directory in held)
                shown = world.catalog.view_images(view.pk, directory)
                assert shown == [row for row in world.catalog.images(directory) if row in within]
                subs = world.catalog.view_subdirectories(view.pk, directory)
                assert {sub.directory for sub in subs} == {
                    sub.pk for sub in world.catalog.subdirectories(directory) if sub.pk in held
                }


def entries(world: World) -> dict[tuple[int, str], int]:
    """(parent node, name) → node for everything that a kernel may have looked up."""
    found: dict[tuple[int, str], int] = {}
    directories = [world.root]
    for directory in directories:
        for sub in world.catalog.subdirectories(directory):
            directories.append(sub.pk)
            for kind in (Kind.IMAGES, Kind.ANNOTATIONS):
                found[node_id(directory, kind), sub.file_name] = node_id(sub.pk, kind)
    for _, row in world.images():
        found[node_id(row.directory, Kind.IMAGES), row.file_name] = node_id(row.pk, Kind.IMAGE)
        found[node_id(row.directory, Kind.ANNOTATIONS), row.annotation_name] = node_id(
            row.annotation, Kind.ANNOTATION
        )
    for field, face in (("split", Kind.SPLITS), ("status", Kind.STATUSES)):
        for view in world.catalog.views(world.dataset, field):
            found[node_id(world.dataset, face), view.file_name] = node_id(view.pk, Kind.VIEW)
            for directory in directories:
                place = world.catalog.view_directory_for(view.pk, directory)
                if place is None:
                    continue
                for kind in (Kind.VIEW_IMAGES, Kind.VIEW_ANNOTATIONS):
                    for sub in world.catalog.view_subdirectories(view.pk, directory):
                        found[node_id(place.pk, kind), sub.file_name] = node_id(sub.pk, kind)
                for row in world.catalog.view_images(view.pk, directory):
                    found[node_id(place.pk, Kind.VIEW_IMAGES), row.file_name] = node_id(
                        row.pk, Kind.IMAGE_LINK
                    )
                    found[node_id(place.pk, Kind.VIEW_ANNOTATIONS), row.annotation_name] = node_id(
                        row.pk, Kind.ANNOTATION_LINK
                    )
    return found


@SETTINGS
@given(facts=listings(), order=st.randoms(use_true_random=False), page=st.integers(1, 10), data=st.data())
def test_names_after_a_first_listing_depend_on_what_exists_and_not_on_its_order(
    facts: list[ImageFacts], order: object, page: int, data: st.DataObject
) -> None:
    shuffled = list(facts)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    with a_world() as world:
        if data.draw(st.booleans(), label="interrupted before"):
            generation = world.catalog.begin_listing(world.dataset)
            world.catalog.put_images(world.dataset, generation, data.draw(listings(), label="seen before"))
            world.restart()
        world.list(*shuffled, page=page)
        assert paths(world) == settled(facts)
        check(world)


@SETTINGS
@given(
    rounds=st.lists(st.tuples(listings(), st.booleans()), min_size=2, max_size=4),
    page=st.integers(1, 10),
    stored=st.integers(0, 3),
)
def test_names_stay_and_every_change_is_told(
    rounds: list[tuple[list[ImageFacts], bool]], page: int, stored: int
) -> None:
    with a_world() as world:
        world.list(*rounds[0][0], page=page)
        for facts, interrupted in rounds[1:]:
            before, old_paths = entries(world), paths(world)
            wanted = {row.remote_id: (row.directory, row.remote_name) for _, row in world.images()}
            for _, row in itertools.islice(world.images(), stored):
                if row.size_bytes is not None:
                    world.store(image_node(row.pk))
            if interrupted:
                generation = world.catalog.begin_listing(world.dataset)
                change = world.catalog.put_images(world.dataset, generation, facts)
                world.restart()
                after = entries(world)
                lost = {key for key in before.keys() & after.keys() if before[key] != after[key]}
                assert lost <= set(change.entries)
                before = after
                old_paths = {}
            change = world.list(*facts, page=page)
            after = entries(world)
            parents = {parent for parent, _ in before}
            untrue = {
                key
                for key in before.keys() | after.keys()
                if before.get(key) != after.get(key) and key[0] in parents
            }
            assert untrue <= set(change.entries)
            relisted = {parent for parent, _ in untrue if names_in(before, parent) != names_in(after, parent)}
            assert relisted <= set(change.nodes)
            for key, (path, annotation) in old_paths.items():
                now = paths(world).get(key)
                row = next((row for _, row in world.images() if row.remote_id == key), None)
                if row is not None and wanted[key] == (row.directory, row.remote_name):
                    assert now == (path, annotation), "a name once given stays"
            check(world)


def names_in(found: dict[tuple[int, str], int], parent: int) -> set[str]:
    return {name for node, name in found if node == parent}


def test_the_model_itself_knows_the_plain_case() -> None:
    facts = [image(2, "a.jpg"), image(1, "a.jpg"), image(3, "a.png", "/x")]
    assert settled(facts) == {
        remote_id(1): ("a.jpg", "a.json"),
        remote_id(2): ("a~00000002.jpg", "a~00000002.json"),
        remote_id(3): ("x/a.png", "x/a.json"),
    }
