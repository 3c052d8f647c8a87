"""When the service is asked, and what is said meanwhile."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pictofs.catalog.model import Kind, node_id
from pictofs.link.messages import Done, Moved, State
from tests.unit.tree.conftest import furnish
from tests.unit.vfs.bench import Bench


def test_a_walk_over_everything_costs_one_look_at_each_list(bench: Bench) -> None:
    bench.names("org/Cars/images/a/b")
    bench.names("org/Cars/annotations/a/b")
    bench.names("org/Cars/splits/train/images/a/b")
    bench.names("org/Cars/exports")
    assert [Kind(look.node & 0xFF).name for look in bench.requests] == ["ORGANIZATION", "IMAGES", "EXPORTS"]


def test_within_ttl_nothing_is_asked_again(bench: Bench) -> None:
    bench.names("org/Cars/images/a/b")
    bench.forget_requests()
    for _ in range(5):
        bench.pass_s(11)
        bench.names("org/Cars/images/a/b")
        assert bench.entry("org/Cars/images/a/b/9.jpg").attr is None
        bench.attr("org/Cars/images")
    assert bench.requests == []


def test_after_ttl_one_look_serves_every_directory_and_name_of_the_dataset(bench: Bench) -> None:
    bench.names("org/Cars/images/a/b")
    bench.pass_s(61)
    bench.forget_requests()
    bench.names("org/Cars/images/a/b")
    bench.names("org/Cars/annotations")
    assert bench.entry("org/Cars/images/a/nothing").attr is None
    assert bench.entry("org/Cars/images/a/b/1.jpg").attr is not None
    assert bench.attr("org/Cars/splits").valid_s > 0
    assert [Kind(look.node & 0xFF).name for look in bench.requests] == ["DATASET"]


def test_validity_is_what_is_left_of_ttl(bench: Bench) -> None:
    bench.names("org/Cars/images/a/b")
    bench.pass_s(45)
    assert bench.entry("org/Cars/images/a/b/1.jpg").valid_s == pytest.approx(15)
    assert bench.entry("org/Cars/images/nothing").valid_s == pytest.approx(15)
    assert bench.attr("org/Cars/images").valid_s == pytest.approx(15)
    assert bench.entry("org/Cars").valid_s == pytest.approx(15)


def test_nothing_is_valid_beyond_the_ten_ttl_after_which_it_is_looked_at_again(bench: Bench) -> None:
    bench.names("org/Cars/images")
    bench.pass_s(1)
    bench.attr("org/Cars/annotations/top.json")
    bench.pass_s(588)
    assert bench.entry("org/Cars/images/top.jpg").valid_s == pytest.approx(11)
    bench.pass_s(8)
    assert bench.entry("org/Cars/annotations/top.json").valid_s == pytest.approx(3)


def test_a_version_of_an_image_is_valid_for_long_since_it_never_changes(bench: Bench) -> None:
    assert bench.attr("org/Cars/images/a/b/1.jpg").valid_s == 3600


def test_names_at_the_root_never_cost_a_request(bench: Bench) -> None:
    for name in (".Trash", ".Trash-0", ".hidden", "autorun.inf", ".git", "nothing", ".xdg-volume-info"):
        entry = bench.ask(bench.vfs.lookup, 1, name)
        assert entry.attr is None
        assert entry.valid_s == 60
    assert bench.ask(bench.vfs.lookup, 1, ".pictofs").attr is not None
    assert bench.requests == []


def test_unknown_names_within_ttl_cost_one_look_together(bench: Bench) -> None:
    for name in (".git", "HEAD", "config", "nothing"):
        assert bench.entry(f"org/{name}").attr is None
    assert [Kind(look.node & 0xFF).name for look in bench.requests] == ["ORGANIZATION"]


def test_stat_of_a_dataset_s_folders_lists_nothing(bench: Bench) -> None:
    for name in ("images", "annotations", "exports", "splits", "status", "dataset.json"):
        bench.attr(f"org/Cars/{name}")
    assert [Kind(look.node & 0xFF).name for look in bench.requests] == ["ORGANIZATION"]


def test_a_listing_that_failed_is_an_errno_and_no_empty_directory(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.world.fail_once["look IMAGES"] = errno.EIO
    assert bench.begin_and_deliver(bench.vfs.readdir, node, 0, 100).errno == errno.EIO
    assert len(bench.entries(node)) == 2


def test_a_name_is_not_denied_by_a_listing_that_failed(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.world.fail_once["look IMAGES"] = errno.EAGAIN
    assert bench.begin_and_deliver(bench.vfs.lookup, node, "nothing").errno == errno.EAGAIN


def test_an_answer_without_a_listing_is_an_errno_too(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.world.answer = lambda request: [] if type(request).__name__ == "Cancel" else [_done(request)]  # type: ignore[method-assign]
    assert bench.begin_and_deliver(bench.vfs.readdir, node, 0, 100).errno == errno.EIO


def test_while_the_first_listing_is_on_its_way_a_name_seen_resolves_and_an_unknown_one_waits(
    benches: Callable[..., Bench],
) -> None:
    bench = benches(page_rows=3)
    furnish(bench)
    node = bench.node("org/Cars/images")
    bench.link.holding = True
    seen = bench.begin(bench.vfs.lookup, node, "a")
    unknown = bench.begin(bench.vfs.lookup, node, "nothing")
    last = bench.begin(bench.vfs.lookup, node, "top.jpg")
    assert len(bench.link.held) == 1, "one listing for all of them"
    steps = bench.world.steps(bench.link.held[0])

    def advance(until: type) -> None:
        for reply in steps:
            bench.link.unasked = [reply]
            bench.vfs.deliver()
            if isinstance(reply, until):
                return

    advance(Moved)
    assert seen.value.attr is not None, "the first page has it"
    assert seen.value.valid_s <= 1.0
    assert not unknown.ended
    again = bench.begin(bench.vfs.lookup, node, "a")
    assert again.ended, "and whoever comes later does not wait for it either"
    listing = bench.begin(bench.vfs.readdir, node, 0, 10)
    assert not listing.ended, "a listing waits until it is whole"
    assert len(bench.link.held) == 1
    advance(Done)
    assert len(listing.value) == 2
    assert unknown.value.attr is None
    assert unknown.value.valid_s == 60
    assert last.value.attr is not None


def test_offline_an_answer_holds_for_ttl_although_nothing_was_confirmed(bench: Bench) -> None:
    bench.names("org/Cars/images/a/b")
    bench.pass_s(100)
    bench.forget_requests()
    bench.world.answer = lambda request: [_done(request)]  # type: ignore[method-assign]
    for wait_s in (0, 15, 15):
        bench.pass_s(wait_s)
        assert len(bench.names("org/Cars/images/a/b")) == 6
    assert len(bench.requests) == 2, "the dataset and its listing, once each"
    assert bench.entry("org/Cars/images/a/b/1.jpg").valid_s == pytest.approx(30)


def test_when_the_service_is_back_what_was_answered_without_it_counts_no_more(bench: Bench) -> None:
    bench.names("org/Cars/images")
    bench.pass_s(100)
    real, organization = bench.world.answer, bench.world.organization
    bench.link.unasked = [State(organization, False, False, "away")]
    bench.vfs.deliver()
    bench.world.answer = lambda request: [_done(request)]  # type: ignore[method-assign]
    assert bench.names("org/Cars/images") == ["a", "top.jpg"]
    bench.world.answer = real  # type: ignore[method-assign]
    bench.world.delete("Cars", "top.jpg")
    assert bench.names("org/Cars/images") == ["a", "top.jpg"]
    bench.link.unasked = [State(organization, True, False, "")]
    bench.vfs.deliver()
    assert bench.names("org/Cars/images") == ["a"]


def test_a_relisting_that_takes_too_long_ends_in_the_listing_of_before(bench: Bench) -> None:
    node = bench.node("org/Cars/images")
    bench.entries(node)
    bench.pass_s(61)
    bench.link.holding = True
    outcome = bench.begin(bench.vfs.readdir, node, 0, 100)
    bench.pass_s(19)
    assert not outcome.ended
    bench.pass_s(2)
    assert [entry.name for entry in outcome.value] == ["a", "top.jpg"]
    assert bench.begin(bench.vfs.readdir, node, 0, 100).ended, "nobody waits for it again while it goes on"
    assert bench.begin(bench.vfs.getattr, node).value.valid_s <= 1.0
    bench.link.let_go()
    bench.vfs.deliver()
    assert bench.begin(bench.vfs.getattr, node).value.valid_s > 1.0


def test_continuing_a_directory_asks_nothing_and_survives_changes(bench: Bench) -> None:
    node = bench.node("org/Cars/images/a/b")
    first = bench.ask(bench.vfs.readdir, node, 0, 3)
    bench.world.delete("Cars", "a/b/2.jpg")
    bench.world.delete("Cars", "a/b/4.jpg")
    bench.pass_s(61)
    bench.names("org/Cars/images")
    bench.pass_s(61)
    bench.forget_requests()
    rest = bench.ask(bench.vfs.readdir, node, first[-1].cookie, 10)
    assert [entry.name for entry in first + rest] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert bench.requests == []


def test_unknown_sizes_are_left_out_of_listings_and_exact_in_getattr(benches: Callable[..., Bench]) -> None:
    bench = benches(sizes=False)
    furnish(bench)
    entries = bench.entries(bench.node("org/Cars/images/a/b"))
    assert all(entry.attr is None for entry in entries)
    found = bench.entry("org/Cars/images/a/b/1.jpg").attr
    assert found is not None
    assert (found.size_known, found.valid_s) == (False, 0.0)
    assert bench.looks(Kind.IMAGE) == 0
    attr = bench.attr("org/Cars/images/a/b/1.jpg")
    assert (attr.size_bytes, attr.size_known) == (100, True)
    assert bench.looks(Kind.IMAGE) == 1
    bench.restart()
    assert bench.attr("org/Cars/images/a/b/1.jpg").size_bytes == 100
    assert bench.requests == [], "once known, a size is known for good"


def test_a_size_that_cannot_be_had_is_an_errno(benches: Callable[..., Bench]) -> None:
    bench = benches(sizes=False)
    furnish(bench)
    node = bench.node("org/Cars/images/a/b/1.jpg")
    bench.world.fail_once["look IMAGE"] = errno.EAGAIN
    assert bench.begin_and_deliver(bench.vfs.getattr, node).errno == errno.EAGAIN
    bench.world.answer = lambda request: [_done(request)]  # type: ignore[method-assign]
    assert bench.begin_and_deliver(bench.vfs.getattr, node).errno == errno.EIO
    assert bench.begin_and_deliver(bench.vfs.read, node, 0, 10).errno == errno.EIO


def test_an_annotation_is_fetched_when_its_size_is_asked_for_and_kept(bench: Bench) -> None:
    path = "org/Cars/annotations/a/b/1.json"
    found = bench.entry(path).attr
    assert found is not None
    assert not found.size_known
    assert bench.looks(Kind.ANNOTATION) == 0
    bench.pass_s(1)
    assert bench.attr(path).size_bytes == len(bench.world.datasets["Cars"].images["a/b/1.jpg"].annotation)
    bench.attr(path)
    assert bench.looks(Kind.ANNOTATION) == 1


def test_an_annotation_is_looked_at_after_the_dataset_changed_and_after_ten_ttl(bench: Bench) -> None:
    path = "org/Cars/annotations/a/b/1.json"
    bench.attr(path)
    bench.pass_s(1)
    bench.attr(path)
    bench.forget_requests()
    bench.pass_s(300)
    bench.attr(path)
    assert bench.looks(Kind.ANNOTATION) == 1, "fetched in the instant of the listing: checked once more"
    bench.forget_requests()
    bench.pass_s(200)
    bench.attr(path)
    assert bench.looks(Kind.ANNOTATION) == 0
    bench.world.image("Cars", "new.jpg", b"new")
    bench.pass_s(61)
    bench.names("org/Cars/images")
    bench.pass_s(1)
    bench.attr(path)
    assert bench.looks(Kind.ANNOTATION) == 1
    bench.forget_requests()
    bench.pass_s(700)
    bench.entry(path)
    assert bench.looks(Kind.ANNOTATION) == 1


def test_a_changed_annotation_is_another_node_with_the_same_inode(bench: Bench) -> None:
    path = "org/Cars/annotations/a/b/1.json"
    old = bench.attr(path)
    body = bench.body(old.node)
    bench.world.datasets["Cars"].images["a/b/1.jpg"].annotation = b"[]\n"
    bench.pass_s(601)
    new = bench.attr(path)
    assert (new.node != old.node, new.ino) == (True, old.ino)
    assert new.mtime_ns == bench.clock.wall_ns()
    assert bench.body(new.node) == b"[]\n"
    assert bench.body(old.node) == body, "an old version is served while it is whole here"


def test_a_renamed_dataset_leaves_its_old_name_within_ttl(bench: Bench) -> None:
    node = bench.node("org/Cars")
    truth = bench.world.datasets.pop("Cars")
    truth.name = "Autos"
    bench.world.datasets["Autos"] = truth
    bench.pass_s(61)
    assert bench.entry("org/Cars").attr is None
    assert bench.node("org/Autos") == node


def test_a_deleted_dataset_is_gone_within_ttl_and_its_nodes_are_stale(bench: Bench) -> None:
    node, inside = bench.node("org/Cars"), bench.node("org/Cars/images")
    del bench.world.datasets["Cars"]
    bench.pass_s(61)
    assert bench.entry("org/Cars").attr is None
    assert bench.names("org") == []
    assert bench.begin_and_deliver(bench.vfs.getattr, node).errno == errno.ESTALE
    assert bench.begin_and_deliver(bench.vfs.readdir, inside, 0, 10).errno == errno.ESTALE


def test_an_export_that_completes_appears_within_ttl(bench: Bench) -> None:
    export = bench.world.export("Cars", "coco", b"Z" * 10, status="processing")
    assert bench.names("org/Cars/exports") == ["coco.status.json"]
    before = bench.attr("org/Cars/exports/coco.status.json")
    mtime_ns = bench.attr("org/Cars/exports").mtime_ns
    export.status = "completed"
    assert bench.entry("org/Cars/exports/coco.zip").attr is None
    bench.pass_s(61)
    assert bench.attr("org/Cars/exports/coco.zip").size_bytes == 10
    assert bench.attr("org/Cars/exports").mtime_ns != mtime_ns
    assert bench.attr("org/Cars/exports/coco.status.json").mtime_ns != before.mtime_ns


def test_the_mtime_of_a_directory_moves_when_its_listing_does(bench: Bench) -> None:
    paths = ("org", "org/Cars/images", "org/Cars/splits", "org/Cars/splits/train/images")
    bench.names("org/Cars/images")
    before = {path: bench.attr(path).mtime_ns for path in paths}
    bench.pass_s(61)
    assert {path: bench.attr(path).mtime_ns for path in paths} == before, "and only then"
    bench.world.image("Cars", "more.jpg", b"more", split="train")
    bench.world.dataset("Second")
    bench.pass_s(61)
    after = {path: bench.attr(path).mtime_ns for path in paths}
    assert all(after[path] != before[path] for path in paths)


def test_a_listing_is_looked_at_after_ten_ttl_though_nothing_says_it_changed(bench: Bench) -> None:
    bench.names("org/Cars/images")
    truth = bench.world.datasets["Cars"]
    revision = truth.revision
    bench.world.replace("Cars", "top.jpg", b"TOP")
    truth.revision = revision
    old = bench.node("org/Cars/images/top.jpg")
    bench.pass_s(595)
    assert bench.node("org/Cars/images/top.jpg") == old
    bench.pass_s(10)
    assert bench.node("org/Cars/images/top.jpg") != old
    assert bench.looks(Kind.IMAGES) == 2


def test_with_a_ttl_of_zero_every_look_asks_once_and_none_is_endless(benches: Callable[..., Bench]) -> None:
    bench = benches(ttl_s=0.0)
    furnish(bench)
    node = bench.node("org/Cars/images")
    bench.forget_requests()
    bench.entries(node)
    assert 1 <= len(bench.requests) <= 2
    assert bench.entry("org/Cars/images/top.jpg").valid_s == 0


def test_a_clock_that_was_set_back_makes_nothing_fresh_for_ever(bench: Bench) -> None:
    bench.names("org/Cars/images")
    row = bench.world.catalog.dataset_named(bench.world.organization, "Cars")
    assert row is not None
    bench.clock.s -= 500
    bench.restart()
    bench.entries(node_id(row.root_directory, Kind.IMAGES))
    assert [look.node for look in bench.requests] == [node_id(row.root_directory, Kind.IMAGES)]


def _done(request: object) -> object:
    return Done(request.id)  # type: ignore[attr-defined]
