"""What stands where on the mount."""

from __future__ import annotations

import errno
import itertools
import stat
from collections.abc import Callable

import pytest

from pictofs.catalog.model import Kind
from pictofs.tree import Root
from pictofs.tree.organizations import settle_roots
from tests.contract.world import CREATED_NS
from tests.unit.tree.conftest import furnish
from tests.unit.vfs.bench import Bench


def paths(bench: Bench, node: int = 1, above: str = "") -> list[str]:
    found = []
    for entry in bench.entries(node, 3):
        path = f"{above}{entry.name}"
        found.append(path)
        if stat.S_ISDIR(entry.mode):
            found += paths(bench, entry.node, path + "/")
    return found


def test_the_layout_is_the_documented_one(bench: Bench) -> None:
    bench.world.export("Cars", "coco", b"Z" * 10)
    bench.world.export("Cars", "later", b"", status="processing")
    assert paths(bench) == [
        "org",
        "org/Cars",
        "org/Cars/dataset.json",
        "org/Cars/images", "org/Cars/images/a", "org/Cars/images/a/b",
        *(f"org/Cars/images/a/b/{n}.jpg" for n in range(6)), "org/Cars/images/a/ü.png",
        "org/Cars/images/top.jpg",
        "org/Cars/annotations", "org/Cars/annotations/a", "org/Cars/annotations/a/b",
        *(f"org/Cars/annotations/a/b/{n}.json" for n in range(6)), "org/Cars/annotations/a/ü.json",
        "org/Cars/annotations/top.json",
        "org/Cars/exports", "org/Cars/exports/coco.zip", "org/Cars/exports/coco.status.json",
        "org/Cars/exports/later.status.json",
        "org/Cars/splits",
        "org/Cars/splits/train", "org/Cars/splits/train/images", "org/Cars/splits/train/images/a",
        "org/Cars/splits/train/images/a/b", *(f"org/Cars/splits/train/images/a/b/{n}.jpg" for n in (1, 3, 5)),
        "org/Cars/splits/train/images/a/ü.png",
        "org/Cars/splits/train/annotations", "org/Cars/splits/train/annotations/a",
        "org/Cars/splits/train/annotations/a/b",
        *(f"org/Cars/splits/train/annotations/a/b/{n}.json" for n in (1, 3, 5)),
        "org/Cars/splits/train/annotations/a/ü.json",
        "org/Cars/splits/val", "org/Cars/splits/val/images", "org/Cars/splits/val/images/a",
        "org/Cars/splits/val/images/a/b", *(f"org/Cars/splits/val/images/a/b/{n}.jpg" for n in (0, 2, 4)),
        "org/Cars/splits/val/annotations", "org/Cars/splits/val/annotations/a",
        "org/Cars/splits/val/annotations/a/b",
        *(f"org/Cars/splits/val/annotations/a/b/{n}.json" for n in (0, 2, 4)),
        "org/Cars/status",
        "org/Cars/status/complete", "org/Cars/status/complete/images", "org/Cars/status/complete/images/a",
        "org/Cars/status/complete/images/a/b",
        *(f"org/Cars/status/complete/images/a/b/{n}.jpg" for n in range(5)),
        "org/Cars/status/complete/images/a/ü.png", "org/Cars/status/complete/images/top.jpg",
        "org/Cars/status/complete/annotations", "org/Cars/status/complete/annotations/a",
        "org/Cars/status/complete/annotations/a/b",
        *(f"org/Cars/status/complete/annotations/a/b/{n}.json" for n in range(5)),
        "org/Cars/status/complete/annotations/a/ü.json", "org/Cars/status/complete/annotations/top.json",
        "org/Cars/status/review", "org/Cars/status/review/images", "org/Cars/status/review/images/a",
        "org/Cars/status/review/images/a/b", "org/Cars/status/review/images/a/b/5.jpg",
        "org/Cars/status/review/annotations", "org/Cars/status/review/annotations/a",
        "org/Cars/status/review/annotations/a/b", "org/Cars/status/review/annotations/a/b/5.json",
    ]


def test_every_listed_name_resolves_to_the_node_that_the_listing_gave(bench: Bench) -> None:
    bench.world.export("Cars", "coco", b"Z" * 10)

    def compare(node: int) -> int:
        count = 0
        for entry in bench.entries(node):
            attr = bench.ask(bench.vfs.lookup, node, entry.name).attr
            assert (attr.node, attr.ino) == (entry.node, entry.ino)
            assert stat.S_IFMT(attr.mode) == stat.S_IFMT(entry.mode)
            if entry.attr is not None and entry.attr.valid_s > 0:
                exact = bench.ask(bench.vfs.getattr, entry.node)
                assert (exact.size_bytes, exact.mtime_ns) == (entry.attr.size_bytes, entry.attr.mtime_ns)
            count += 1 + (compare(entry.node) if stat.S_ISDIR(entry.mode) else 0)
        return count

    assert compare(1) > 80


@pytest.mark.parametrize("settings", [{}, {"status_filter": "complete"}, {"status_filter": "new"}], ids=str)
def test_names_alone_are_those_of_the_listing_with_attributes(
    benches: Callable[..., Bench], settings: dict[str, str]
) -> None:
    bench = benches(**settings)
    furnish(bench)

    def compare(node: int) -> int:
        listed, named = bench.entries(node), bench.entries(node, 3, names_only=True)
        plain = [(each.name, each.node, each.ino, each.mode, each.cookie) for each in listed]
        assert [(each.name, each.node, each.ino, each.mode, each.cookie) for each in named] == plain
        return len(listed) + sum(compare(each.node) for each in listed if stat.S_ISDIR(each.mode))

    assert compare(1) > 20


def test_cookies_that_a_driver_may_use_for_dots_are_never_ours(bench: Bench) -> None:
    assert all(entry.cookie > 255 for entry in bench.entries(bench.node("org/Cars/images")))


def test_dots_are_the_inodes_of_the_directory_and_the_one_above(bench: Bench) -> None:
    chain = [
        "org", "org/Cars", "org/Cars/splits", "org/Cars/splits/train", "org/Cars/splits/train/images",
        "org/Cars/splits/train/images/a", "org/Cars/splits/train/images/a/b",
    ]
    nodes = [1, *(bench.node(path) for path in chain)]
    for above, node in itertools.pairwise(nodes):
        assert bench.vfs.dots(node) == (node, above)
    assert bench.vfs.dots(1) == (1, 1)
    assert bench.vfs.dots(bench.node("org/Cars/annotations/a"))[1] == bench.node("org/Cars/annotations")
    assert bench.vfs.dots(bench.node("org/Cars/images"))[1] == bench.node("org/Cars")
    assert bench.vfs.dots(bench.node(".pictofs")) == (bench.node(".pictofs"), 1)


def test_directories_count_their_subdirectories(bench: Bench) -> None:
    bench.names("org/Cars/images")
    links = {path: bench.attr(path).nlink for path in (
        "org", "org/Cars", "org/Cars/images", "org/Cars/images/a", "org/Cars/images/a/b", "org/Cars/splits",
        "org/Cars/splits/train", "org/Cars/exports",
    )}
    assert links == {
        "org": 3, "org/Cars": 7, "org/Cars/images": 3, "org/Cars/images/a": 3, "org/Cars/images/a/b": 2,
        "org/Cars/splits": 4, "org/Cars/splits/train": 4, "org/Cars/exports": 2,
    }


def test_owner_and_permissions_are_the_mount_s(benches: Callable[..., Bench]) -> None:
    bench = benches()
    furnish(bench)
    top = bench.attr("org/Cars/images/top.jpg")
    assert (oct(top.mode), top.uid, top.gid) == ("0o100444", 12, 34)
    assert oct(bench.attr("org").mode) == "0o40555"
    other = benches(umask=0o077, uid=5, gid=6)
    furnish(other)
    top = other.attr("org/Cars/images/top.jpg")
    assert (oct(top.mode), top.uid, top.gid) == ("0o100600", 5, 6)


def test_links_of_views_lead_to_the_files_they_stand_for(bench: Bench) -> None:
    deep = bench.entry("org/Cars/splits/train/images/a/b/1.jpg").attr
    assert deep is not None
    target = bench.ask(bench.vfs.readlink, deep.node)
    assert target == b"../../../../../images/a/b/1.jpg"
    assert deep.size_bytes == len(target)
    assert deep.mtime_ns == bench.attr("org/Cars/images/a/b/1.jpg").mtime_ns
    flat = bench.node("org/Cars/status/complete/annotations/top.json")
    assert bench.ask(bench.vfs.readlink, flat) == b"../../../annotations/top.json"


def test_an_image_without_a_view_s_value_is_not_in_it(bench: Bench) -> None:
    assert bench.entry("org/Cars/splits/train/images/a/b/0.jpg").attr is None
    assert bench.entry("org/Cars/splits/val/images/a/ü.png").attr is None
    assert bench.entry("org/Cars/status/nothing").attr is None


def test_mode_hides_what_it_leaves_out_everywhere(benches: Callable[..., Bench]) -> None:
    images = benches(mode="images_only")
    furnish(images)
    assert images.names("org/Cars") == ["dataset.json", "images", "exports", "splits", "status"]
    assert images.names("org/Cars/splits/train") == ["images"]
    assert images.entry("org/Cars/annotations").attr is None
    assert images.attr("org/Cars").nlink == 6
    annotations = benches(mode="annotations_only")
    furnish(annotations)
    assert annotations.names("org/Cars") == ["dataset.json", "annotations", "exports", "splits", "status"]
    assert annotations.names("org/Cars/status/review") == ["annotations"]


def test_status_filter_restricts_files_directories_and_views(benches: Callable[..., Bench]) -> None:
    bench = benches(status_filter="review")
    furnish(bench)
    assert [path for path in paths(bench) if path.endswith((".jpg", ".png"))] == [
        "org/Cars/images/a/b/5.jpg",
        "org/Cars/splits/train/images/a/b/5.jpg",
        "org/Cars/status/review/images/a/b/5.jpg",
    ]
    assert bench.names("org/Cars/status") == ["review"]
    assert bench.entry("org/Cars/images/top.jpg").attr is None
    assert bench.entry("org/Cars/images/a/b/5.jpg").attr is not None


def test_a_status_that_no_image_has_shows_empty_directories(benches: Callable[..., Bench]) -> None:
    bench = benches(status_filter="new")
    furnish(bench)
    assert bench.names("org/Cars/images") == []
    assert bench.entry("org/Cars/images/a").attr is None


def test_archived_datasets_are_shown_on_request(benches: Callable[..., Bench]) -> None:
    hidden, shown = benches(), benches(archived="show")
    for bench in (hidden, shown):
        bench.world.dataset("Cars")
        bench.world.dataset("Old", archived=True)
    assert hidden.names("org") == ["Cars"]
    assert hidden.entry("org/Old").attr is None
    assert shown.names("org") == ["Cars", "Old"]


def test_slug_and_id_of_a_dataset_resolve_without_being_listed(bench: Bench) -> None:
    node = bench.node("org/Cars")
    assert bench.node("org/cars-slug") == node
    assert bench.node(f"org/{bench.world.datasets['Cars'].remote_id}") == node
    assert bench.names("org") == ["Cars"]


@pytest.mark.parametrize(("opened", "listed", "resolves"), [
    ("hidden", False, True), ("listed", True, True), ("off", False, False),
])  # fmt: skip
def test_opened_archives_are_listed_reachable_or_neither(
    benches: Callable[..., Bench], opened: str, listed: bool, resolves: bool
) -> None:
    bench = benches(opened=opened)
    furnish(bench)
    bench.world.export("Cars", "coco", b"Z")
    bench.world.export("Cars", "later", b"Z", status="processing")
    names = {"coco.zip", "coco.status.json", "later.status.json"} | ({"coco"} if listed else set())
    assert set(bench.names("org/Cars/exports")) == names
    found = bench.entry("org/Cars/exports/coco").attr
    assert (found is not None and found.is_directory) is resolves
    assert bench.entry("org/Cars/exports/later").attr is None


def test_mtimes_are_those_of_the_service_before_and_after_the_fetch(bench: Bench) -> None:
    image = bench.world.datasets["Cars"].images["a/b/3.jpg"]
    path = "org/Cars/images/a/b/3.jpg"
    before = bench.attr(path).mtime_ns
    bench.body(bench.node(path))
    assert before == bench.attr(path).mtime_ns == image.created_ns
    listed = bench.entry("org/Cars/annotations/a/b/3.json").attr
    assert listed is not None
    assert listed.mtime_ns == bench.attr("org/Cars/annotations/a/b/3.json").mtime_ns == image.created_ns
    bench.world.export("Cars", "coco", b"Z")
    assert bench.attr("org/Cars/exports/coco.zip").mtime_ns == CREATED_NS + 5_000_000_000


def test_a_document_that_changed_while_the_service_s_clock_stood_still_has_another_mtime(
    bench: Bench,
) -> None:
    path = "org/Cars/dataset.json"
    before = bench.attr(path)
    bench.world.delete("Cars", "top.jpg")
    bench.pass_s(61)
    after = bench.attr(path)
    assert before.mtime_ns != after.mtime_ns
    assert before.mtime_ns // 10**9 == after.mtime_ns // 10**9
    assert b'"image_count": 7' in bench.body(after.node)


def test_xattrs_say_what_the_service_says(bench: Bench) -> None:
    node = bench.node("org/Cars/images/a/b/1.jpg")
    names = bench.ask(bench.vfs.listxattr, node)
    values = {name: bench.ask(bench.vfs.getxattr, node, name).decode() for name in names}
    assert values == {
        "user.pictofs.id": bench.world.datasets["Cars"].images["a/b/1.jpg"].remote_id,
        "user.pictofs.name": "1.jpg",
        "user.pictofs.status": "complete",
        "user.pictofs.split": "train",
        "user.pictofs.tags": "x,y",
        "user.pictofs.annotation_count": "1",
        "user.pictofs.cached": "0",
    }
    bench.body(node)
    assert bench.ask(bench.vfs.getxattr, node, "user.pictofs.cached") == b"1"


@pytest.mark.parametrize(
    "name", ["user.pictofs.width", "user.other", "security.capability", "system.posix_acl_access"]
)
def test_an_xattr_that_is_not_known_is_enodata(bench: Bench, name: str) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    assert bench.begin(bench.vfs.getxattr, node, name).errno == errno.ENODATA


def test_df_shows_the_organization_s_bytes(bench: Bench) -> None:
    bench.names("org/Cars/images")
    found = bench.ask(bench.vfs.statfs)
    assert found.files == 8
    assert found.blocks == 1
    assert found.block_bytes == 4096


def test_operations_on_the_wrong_kind_are_their_errno(bench: Bench) -> None:
    directory, file = bench.node("org/Cars/images"), bench.node("org/Cars/images/top.jpg")
    for operation, arguments, number in (
        (bench.vfs.lookup, (file, "x"), errno.ENOTDIR),
        (bench.vfs.readdir, (file, 0, 10), errno.ENOTDIR),
        (bench.vfs.readlink, (file,), errno.EINVAL),
        (bench.vfs.read, (directory, 0, 10), errno.EISDIR),
        (bench.vfs.lookup, (directory, "x" * 256), errno.ENAMETOOLONG),
        (bench.vfs.getattr, (123 << 8 | Kind.IMAGE,), errno.ESTALE),
        (bench.vfs.getattr, (123 << 8 | 99,), errno.ESTALE),
        (bench.vfs.readdir, (directory, 123 << 8 | Kind.IMAGE, 10), errno.ESTALE),
    ):
        assert bench.begin(operation, *arguments).errno == number


def test_a_name_that_is_not_utf8_is_no_name_of_ours(bench: Bench) -> None:
    found = bench.ask(bench.vfs.lookup, bench.node("org/Cars/images"), "\udcff.jpg")
    assert found.attr is None


def test_node_ids_mean_the_same_to_a_process_that_was_just_started(bench: Bench) -> None:
    bench.names("org/Cars/images")
    bench.pass_s(1)
    before = {path: bench.attr(path) for path in (
        "org", "org/Cars", "org/Cars/images/a/b/1.jpg", "org/Cars/splits/val", "org/Cars/splits/val/images/a",
        "org/Cars/splits/train/images/a/b/1.jpg", "org/Cars/annotations/top.json", "org/Cars/dataset.json",
    )}
    bench.restart()
    for attr in before.values():
        again = bench.ask(bench.vfs.getattr, attr.node)
        assert (again.node, again.ino, again.mode, again.size_bytes, again.mtime_ns) == (
            attr.node, attr.ino, attr.mode, attr.size_bytes, attr.mtime_ns,
        )
    assert bench.requests == [], "a remount serves at once from what was known"


def test_two_organizations_of_one_name_are_told_apart(bench: Bench) -> None:
    catalog = bench.world.catalog
    twin = catalog.put_organization("http://test", "0123456789ab", "Org", "org", b"{}", "other key").pk
    nameless = catalog.put_organization("http://test", "z", "", "", b"{}", "third key").pk
    roots = [Root(bench.world.organization), Root(twin), Root(nameless), Root(twin)]
    names = settle_roots(catalog, roots)
    assert names == {"org": bench.world.organization, "org~01234567": twin, "organization": nameless}
    assert settle_roots(catalog, [Root(twin, "mine")]) == {"mine": twin}
    assert list(settle_roots(catalog, [Root(twin, ".pictofs")])) != [".pictofs"]
