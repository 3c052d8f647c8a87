"""Reads: blocks, descriptors, versions."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.catalog.model import EXPORT_BLOCK_BYTES, SPILL, BlockRow
from pictofs.link.messages import Ask, Changed, Done, Look, Read, Want
from pictofs.vfs.descriptors import MOST_SPILLED, Descriptors
from pictofs.vfs.vfs import RELEASE_S
from tests.unit.tree.conftest import furnish
from tests.unit.vfs.bench import Bench


def big(bench: Bench, blocks: float = 3.5) -> tuple[int, bytes]:
    body = os.urandom(int(EXPORT_BLOCK_BYTES * blocks))
    bench.world.export("Cars", "big", body)
    return bench.node("org/Cars/exports/big.zip"), body


def test_a_read_that_spans_blocks_is_whole_and_in_order(bench: Bench) -> None:
    node, body = big(bench)
    start, size = EXPORT_BLOCK_BYTES - 10, 2 * EXPORT_BLOCK_BYTES
    assert bench.body(node, start, size) == body[start : start + size]
    (want,) = bench.link.requests(Want)
    assert (want.first, want.last) == (0, 2), "one request for all that is missing"
    assert bench.body(node) == body


def test_reads_are_clipped_at_the_end(bench: Bench) -> None:
    node, body = big(bench, 1.5)
    assert bench.body(node, len(body) - 5, 100) == body[-5:]
    assert bench.body(node, len(body), 100) == b""
    assert bench.body(node, len(body) + 100, 100) == b""
    assert bench.body(node, 0, 0) == b""


def test_a_random_read_wants_one_block_of_an_archive(bench: Bench) -> None:
    node, body = big(bench, 10)
    assert bench.body(node, 7 * EXPORT_BLOCK_BYTES + 5, 10) == body[7 * EXPORT_BLOCK_BYTES + 5 :][:10]
    assert [(want.first, want.last) for want in bench.link.requests(Want)] == [(7, 7)]


def test_a_present_block_is_read_without_the_fetching_process(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    assert bench.body(node) == b"top"
    bench.restart()
    bench.link.broken = True
    assert bench.body(node) == b"top"


def open_below(folder: Path) -> list[str]:
    """What this process has open there, removed files too."""
    there = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):    # the descriptor that listed them
            there.append(os.readlink(f"/proc/self/fd/{fd}"))
    return [path for path in there if path.startswith(f"{folder}/")]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="NOT TESTED: /proc tells what is open")
def test_what_the_store_has_removed_gives_back_its_place_on_the_disk(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.world.evict(node)
    store = bench.world.cache_dir / "store"
    assert [path for path in open_below(store) if "deleted" in path]
    bench.pass_s(RELEASE_S)
    assert not [path for path in open_below(store) if "deleted" in path]
    assert bench.body(node) == b"top"


def test_of_what_the_store_had_no_room_for_a_few_files_stay_open(tmp_path: Path) -> None:
    held = Descriptors(str(tmp_path), lambda: 1)
    (tmp_path / SPILL).mkdir()
    for number in range(MOST_SPILLED + 3):
        (tmp_path / SPILL / str(number)).write_bytes(b"x")
        held.open(BlockRow(number, 0, f"{SPILL}/{number}", 1, 0, 1))
    assert len(held) == MOST_SPILLED
    assert held.held(2, 0) is None
    assert held.held(3, 0) is not None
    held.close()


def test_a_block_whose_file_is_gone_is_wanted_as_lost(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.restart()
    bench.world.evict(node)
    assert bench.body(node) == b"top"
    assert [want.lost for want in bench.link.requests(Want)] == [True]


def test_a_block_of_another_length_is_wanted_as_lost(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.restart()
    (row,) = bench.world.catalog.blocks(node)
    (bench.world.cache_dir / row.path).write_bytes(b"to")
    assert bench.body(node) == b"top"
    assert [want.lost for want in bench.link.requests(Want)] == [True]


def test_a_block_of_an_earlier_boot_is_verified_before_it_is_trusted(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.vfs.close()
    bench.world.boot = bench.world.catalog.boot_index("the next boot")
    bench.link = type(bench.link)(bench.world)
    bench.start(boot="the next boot")
    assert bench.body(node) == b"top"
    assert [want.lost for want in bench.link.requests(Want)] == [True]


def test_an_open_block_is_read_also_after_it_was_evicted(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.world.evict(node)
    bench.world.catalog.drop_blocks(node)
    bench.link.broken = True
    assert bench.body(node) == b"top"


def test_descriptors_are_bounded_and_the_longest_unread_goes_first(benches: Callable[..., Bench]) -> None:
    bench = benches()
    furnish(bench)
    bench.vfs.close()
    bench.start(descriptors=3)
    nodes = [bench.node(f"org/Cars/images/a/b/{number}.jpg") for number in range(5)]
    before = len(os.listdir("/proc/self/fd"))
    for node in [*nodes, nodes[2], nodes[0]]:
        bench.body(node)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    opened = bench.vfs._descriptors.opened
    bench.body(nodes[2])
    assert bench.vfs._descriptors.opened == opened, "read lately, so it is still open"


def test_a_block_that_is_evicted_as_soon_as_it_comes_ends_in_eio(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.world.answer = lambda request: [Done(request.id)]  # type: ignore[method-assign]
    assert bench.begin_and_deliver(bench.vfs.read, node, 0, 10).errno == errno.EIO
    assert len(bench.link.requests(Want)) == 3


def test_an_old_version_is_read_while_it_is_here_and_stale_after(bench: Bench) -> None:
    path = "org/Cars/images/a/b/1.jpg"
    old, unread = bench.node(path), bench.node("org/Cars/images/a/b/2.jpg")
    body = bench.body(old)
    bench.world.replace("Cars", "a/b/1.jpg", b"new body")
    bench.world.replace("Cars", "a/b/2.jpg", b"new body")
    bench.pass_s(61)
    new = bench.attr(path)
    assert (new.node != old, new.ino) == (True, old)
    assert bench.body(new.node) == b"new body"
    assert bench.body(old) == body
    assert bench.ask(bench.vfs.getattr, old).size_bytes == len(body)
    assert bench.begin_and_deliver(bench.vfs.read, unread, 0, 10).errno == errno.ESTALE
    bench.restart()
    bench.world.catalog.drop_blocks(old)
    assert bench.begin_and_deliver(bench.vfs.read, old, 0, 10).errno == errno.ESTALE
    assert not [want for want in bench.link.requests(Want) if want.node == old]


def test_many_blocks_are_joined_only_when_all_are_here(bench: Bench) -> None:
    node, body = big(bench)
    bench.body(node, 0, 10)
    assert bench.ask(bench.vfs.in_one_file, node) is False
    assert not bench.link.requests(Ask), "what is not whole is not fetched for it"
    bench.body(node)
    assert bench.ask(bench.vfs.in_one_file, node) is False, "it was asked for, and could not be done"
    assert [(ask.verb, ask.arguments) for ask in bench.link.requests(Ask)] == [("join", {"nodes": [node]})]
    bench.world.joins = True
    assert bench.ask(bench.vfs.in_one_file, node) is True
    (piece,) = bench.ask(bench.vfs.read, node, 0, 1).pieces
    assert os.fstat(piece.fd).st_size == len(body), "not the block that was open before"
    bench.forget_requests()
    assert bench.ask(bench.vfs.in_one_file, node) is True
    assert not bench.requests
    assert bench.body(node) == body


def test_what_is_one_block_or_no_file_of_the_store_is_never_joined(bench: Bench) -> None:
    big(bench)
    assert bench.ask(bench.vfs.in_one_file, bench.node("org/Cars/images/top.jpg")) is True
    assert bench.ask(bench.vfs.in_one_file, bench.node("org/Cars/exports/big.status.json")) is False
    assert bench.begin(bench.vfs.in_one_file, bench.node("org/Cars")).errno == errno.EISDIR
    assert not bench.link.requests(Ask)


def test_blocks_that_were_joined_are_read_from_the_one_file(bench: Bench) -> None:
    node, body = big(bench)
    bench.body(node)
    bench.restart()
    bench.body(node, 0, 10)     # has one block open, and the rows of the others
    bench.world.join(node)
    chance = random.Random(5)
    for _ in range(50):
        offset, size = chance.randrange(len(body)), chance.choice((1, 4096, 300_000, 1 << 20))
        assert bench.body(node, offset, size) == body[offset : offset + size], (offset, size)
    found = bench.ask(bench.vfs.read, node, EXPORT_BLOCK_BYTES - 5, EXPORT_BLOCK_BYTES + 10)
    assert len(found.pieces) <= 2
    assert bench.world.asked["want EXPORT"] == 1, "nothing was fetched again"
    bench.link.broken = True
    assert bench.body(node) == body


def test_a_joined_file_is_trusted_after_a_new_boot_and_fetched_again_when_it_is_gone(bench: Bench) -> None:
    node, body = big(bench)
    bench.body(node)
    bench.world.join(node)
    bench.vfs.close()
    bench.world.boot = bench.world.catalog.boot_index("the next boot")
    bench.link = type(bench.link)(bench.world)
    bench.start(boot="the next boot")
    assert bench.body(node) == body
    assert not bench.link.requests(Want)
    bench.restart()
    bench.world.evict(node)
    assert bench.body(node) == body
    assert bench.link.requests(Want)[0].lost


def test_reads_are_told_once_a_block_and_in_batches(bench: Bench) -> None:
    node, _ = big(bench)
    bench.body(node)
    bench.pass_s(1)
    bench.forget_requests()
    for offset in range(0, EXPORT_BLOCK_BYTES, 1 << 17):
        bench.ask(bench.vfs.read, node, offset, 1 << 17)
    assert not bench.link.requests(Read)
    assert bench.vfs.tick() <= 0.01
    bench.pass_s(0.02)
    hints = bench.link.requests(Read)
    assert [(hint.node, hint.offset) for hint in hints] == [(node, 0)]


def test_sizes_of_annotations_that_are_here_are_told_of_where_none_of_them_is_read(bench: Bench) -> None:
    names = [f"{n}.jpg" for n in range(4)]
    for name in names:
        bench.world.image("Cars", name, b"image")
    nodes = [bench.node(f"org/Cars/annotations/{n}.json") for n in range(4)]
    folder = bench.node("org/Cars/annotations")
    for node in nodes:
        bench.ask(bench.vfs.getattr, node)
    bench.pass_s(1)
    bench.vfs.tick()
    bench.forget_requests()

    def looked_up(n: int) -> None:
        entry = bench.ask(bench.vfs.lookup, folder, f"{n}.json")
        assert entry.attr.size_known

    for n in (0, 1, 2):
        looked_up(n)
    bench.pass_s(1)
    bench.vfs.tick()
    assert [(hint.node, hint.end) for hint in bench.link.requests(Read)] == [(n, False) for n in nodes[:2]]
    bench.forget_requests()
    bench.body(nodes[2])
    looked_up(3)
    bench.pass_s(1)
    bench.vfs.tick()
    assert [(hint.node, hint.end) for hint in bench.link.requests(Read)] == [(nodes[2], True)], "by its read"


def test_what_was_read_is_told_before_what_is_missed_afterwards(bench: Bench) -> None:
    """Told of a miss first, look-ahead would take a reader that goes straight on for one that jumps."""
    node, _ = big(bench)
    bench.world.image("Cars", "other.jpg", b"other")
    other = bench.node("org/Cars/images/other.jpg")
    bench.body(node)
    bench.pass_s(1)
    bench.forget_requests()
    bench.ask(bench.vfs.read, node, 0, 10)
    bench.ask(bench.vfs.read, other, 0, 10)
    assert [type(sent) for sent in bench.link.sent if isinstance(sent, Read | Want)] == [Read, Want]
    bench.pass_s(1)
    annotation = bench.node("org/Cars/annotations/other.json")
    bench.forget_requests()
    bench.ask(bench.vfs.read, node, 0, 10)
    bench.ask(bench.vfs.getattr, annotation)
    assert [type(sent) for sent in bench.link.sent if isinstance(sent, Read | Look)] == [Read, Look]


def test_an_empty_file_is_empty(bench: Bench) -> None:
    bench.world.image("Cars", "empty.jpg", b"")
    node = bench.node("org/Cars/images/empty.jpg")
    assert bench.body(node) == b""


def test_an_object_of_another_length_than_listed_is_another_version(bench: Bench) -> None:
    path = "org/Cars/images/top.jpg"
    old = bench.node(path)
    bench.body(old)
    change = bench.world.catalog.put_image_truth(old >> 8, 18, "1", "", "")
    bench.link.unasked = [Changed(change.entries, change.nodes)]
    bench.vfs.deliver()
    new = bench.attr(path)
    assert (new.node != old, new.size_bytes, new.ino) == (True, 18, old)
    assert bench.body(old) == b"top"


def test_where_no_boot_is_known_every_block_is_verified_when_it_is_opened(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.body(node)
    bench.vfs.close()
    bench.link = type(bench.link)(bench.world)
    bench.start(boot="")
    assert bench.body(node) == b"top"
    assert [want.lost for want in bench.link.requests(Want)] == [True]
    bench.forget_requests()
    assert bench.body(node) == b"top"
    assert not bench.link.requests(Want)


def test_when_descriptors_run_out_half_of_ours_are_given_up(bench: Bench) -> None:
    nodes = [bench.node(f"org/Cars/images/a/b/{number}.jpg") for number in range(6)]
    for node in nodes[:4]:
        bench.body(node)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    for node in nodes[4:]:
        bench.link.world.answer(Want(0, node, 0, 0))
    os.close(spare)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
        assert bench.body(nodes[4])
        assert len(bench.vfs._descriptors) < 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.logs_traceback
def test_a_driver_s_fault_in_one_answer_does_not_cost_the_others(bench: Bench) -> None:
    node = bench.node("org/Cars/images/top.jpg")
    bench.link.holding = True

    def broken(found: object) -> None:
        raise RuntimeError("the driver's own")

    bench.vfs.read(node, 0, 10, broken, broken)
    other = bench.begin(bench.vfs.read, node, 0, 10)
    bench.link.let_go()
    bench.vfs.deliver()
    assert other.value.pieces
