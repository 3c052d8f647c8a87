"""The policy of look-ahead: patterns in, positions out."""

from __future__ import annotations

import itertools
import random

import pytest

from pictofs.mirror import lookahead
from pictofs.mirror.lookahead import Ahead, Axis, Face, Fill, LookAhead, Sight

COUNT = 5000


class Reader:
    """Reads files of one dataset; remembers what the policy asked for, as a cache would."""

    def __init__(self, mode: str = "auto", count: int = COUNT, limit: int = lookahead.WINDOW_LIMIT) -> None:
        self.now_s = 0.0
        self.policy = LookAhead(clock=lambda: self.now_s)
        self.mode, self.count, self.limit = mode, count, limit
        self.held: set[tuple[Face, int]] = set()
        self.missed: list[int] = []
        self.fills: list[Fill] = []
        self.asked: list[Ahead] = []

    def read(
        self,
        position: int,
        reader: int = 1,
        face: Face = Face.IMAGE,
        *,
        whole: bool = True,
        fills: bool = True,
    ) -> None:
        if (face, position) not in self.held:
            self.missed.append(position)
            self._tell(Sight(1, face, position, reader, True, fills=fills))
            self.held.add((face, position))
        self._tell(Sight(1, face, position, reader, False, whole, fills))
        self.now_s += 0.001

    def _tell(self, sight: Sight) -> None:
        for found in self.policy.seen(sight, self.count, self.mode, self.limit):
            if isinstance(found, Fill):
                self.fills.append(found)
            else:
                self.asked.append(found)
                self.held.update((face, at) for face in found.faces for at in found.positions)


def test_a_sequential_reader_misses_only_the_beginning() -> None:
    reader = Reader()
    for position in range(1000):
        reader.read(position)
    assert reader.missed == [0, 1]
    assert not reader.fills


def test_hits_that_are_told_late_do_not_lose_the_reader() -> None:
    """A miss is told at once, a hit up to 50 ms later: with the miss that came after it told first."""
    reader = Reader()
    late: list[Sight] = []
    for position in range(600):
        if (Face.IMAGE, position) not in reader.held:
            reader.missed.append(position)
            reader._tell(Sight(1, Face.IMAGE, position, 1, True))
            reader.held.add((Face.IMAGE, position))
        late.append(Sight(1, Face.IMAGE, position, 1, False, True))
        if len(late) == 40:
            for sight in late:
                reader._tell(sight)
            late.clear()
    assert len(reader.missed) < 12
    assert not reader.fills


def test_who_jumps_from_the_end_to_the_beginning_is_followed_again() -> None:
    """Sorted paths are not in readdir's order: the last directory may come first."""
    reader = Reader(count=3000)
    for position in [*range(2000, 3000), *range(2000)]:
        reader.read(position)
    assert reader.missed == [2000, 2001]
    assert not [at for each in reader.asked for at in each.positions if not 0 <= at < 3000]
    asked = [at for each in reader.asked for at in each.positions]
    assert len(asked) == len(set(asked)), "nothing is asked for twice, and no file a second time round"


def test_who_has_walked_through_a_directory_is_expected_to_walk_through_the_next() -> None:
    reader = Reader()
    for position in [*range(840, 960), *range(720, 840), *range(600, 720)]:
        reader.read(position)
    assert reader.missed == [840, 841, 720, 600]


def test_who_has_walked_over_the_images_is_expected_to_walk_over_the_annotations() -> None:
    """As `cp -r` of both does; nobody knows who asks for the size of an annotation."""
    reader = Reader()
    for position in range(100):
        reader.read(position)
    reader.missed.clear()
    for position in range(100):
        reader.read(position, reader=0, face=Face.ANNOTATION)
    assert reader.missed == [0]


def test_who_looks_at_an_image_here_and_there_brings_no_annotations() -> None:
    reader = Reader()
    for position in [5, 700, 6, 2000]:
        reader.read(position)
    reader.read(5, reader=0, face=Face.ANNOTATION)
    assert not [each for each in reader.asked if Face.ANNOTATION in each.faces]


@pytest.mark.parametrize(
    ("walked", "window"), [(20, lookahead.FIRST_WINDOW), (50, 12), (900, 4 * lookahead.FIRST_WINDOW)]
)
def test_a_jump_after_a_walk_is_expected_to_be_one_only_once_and_by_the_length_of_the_walk(
    walked: int, window: int
) -> None:
    reader = Reader()
    for position in [*range(walked), 4000, 3500, 3000]:
        reader.read(position)
    assert {at for each in reader.asked for at in each.positions if at >= 3000} == {
        *range(4001, 4001 + window)
    }


def test_the_window_doubles_while_it_is_hit_and_ends_at_the_limit() -> None:
    reader = Reader(limit=64)
    for position in range(500):
        reader.read(position)
    sizes = [len(asked.positions) for asked in reader.asked]
    assert sizes[0] == lookahead.FIRST_WINDOW
    assert max(sizes) <= 64
    ahead = [asked.positions[-1] for asked in reader.asked]
    assert max(b - a for a, b in itertools.pairwise(ahead)) <= 64
    assert max(at for _, at in reader.held) <= 499 + 64


def test_a_small_window_grows_fourfold_while_all_of_it_is_read() -> None:
    reader = Reader()
    for position in range(400):
        reader.read(position)
    ends = [each.positions[-1] for each in reader.asked]
    windows = [end - at for end, at in zip(ends, [1, 3, 11, 43, 171], strict=False)]
    assert windows == [4, 16, 64, 256, 512]


def test_nothing_is_asked_for_twice_and_nothing_beyond_the_end() -> None:
    reader = Reader(count=300)
    for position in range(300):
        reader.read(position)
    asked = [at for each in reader.asked for at in each.positions]
    assert sorted(asked) == list(range(2, 300))


def test_a_directory_before_one_that_was_read_is_followed_as_well_as_that() -> None:
    """As `cp -r` takes them: reads that are told late are not credited to the run behind."""
    reader = Reader()
    late: list[Sight] = []
    for position in [*range(840, 960), *range(720, 840), *range(600, 720)]:
        if (Face.IMAGE, position) not in reader.held:
            reader.missed.append(position)
            reader._tell(Sight(1, Face.IMAGE, position, 1, True))
            reader.held.add((Face.IMAGE, position))
        late.append(Sight(1, Face.IMAGE, position, 1, False, True))
        if len(late) == 40:
            for sight in late:
                reader._tell(sight)
            late.clear()
    assert len(reader.missed) <= 30


@pytest.mark.parametrize("stride", [3, 8, -1, -4])
def test_a_strided_reader_is_followed(stride: int) -> None:
    reader = Reader()
    positions = list(range(0, COUNT, stride)) if stride > 0 else list(range(COUNT - 1, -1, stride))
    for position in positions[:400]:
        reader.read(position)
    assert len(reader.missed) <= 3
    asked = {at for each in reader.asked for at in each.positions}
    assert asked <= set(positions)


def test_workers_that_take_batches_in_turn_are_one_run() -> None:
    """DataLoader without shuffling: worker w reads batch w, w + 4, w + 8 …, all at once."""
    reader = Reader()
    for turn in range(0, 2000, 4 * 16):
        for step in range(16):
            for worker in range(4):
                reader.read(turn + worker * 16 + step, reader=worker)
    assert len(reader.missed) < 100
    assert not reader.fills


def test_readers_with_a_shard_each_are_followed_each() -> None:
    reader = Reader()
    for step in range(300):
        for shard in range(8):
            reader.read(shard * 600 + step, reader=shard)
    assert len(reader.missed) <= 16


def test_scattered_reads_fill_the_dataset_once() -> None:
    reader = Reader()
    order = random.Random(1).sample(range(COUNT), 400)
    for n, position in enumerate(order):
        reader.read(position, reader=n % 8)
    assert reader.fills == [Fill(1, (Face.IMAGE,))]
    before = len([1 for each in reader.missed if each in order[:40]])
    assert before <= 40
    assert sum(len(asked.positions) for asked in reader.asked) < 100    # what looked like a run by chance


def test_scattered_reads_of_a_small_dataset_are_no_runs() -> None:
    """Reads that fall into the window of a false run by chance do not widen it."""
    asked = 0
    for seed in range(5):
        reader = Reader("sequential", count=1000)
        for n, position in enumerate(random.Random(seed).sample(range(1000), 1000)):
            reader.read(position, reader=n % 8)
        asked += sum(len(each.positions) for each in reader.asked)
    assert asked < 5 * 250


def test_a_reader_of_headers_fills_nothing() -> None:
    reader = Reader()
    for position in random.Random(2).sample(range(COUNT), 400):
        reader.read(position, whole=False)
    assert not reader.fills


def test_a_search_is_followed_but_fills_nothing() -> None:
    reader = Reader()
    for position in random.Random(3).sample(range(COUNT), 200):
        reader.read(position, fills=False)
    assert not reader.fills
    for position in range(100):
        reader.read(position, fills=False)
    assert reader.asked


def test_scattered_reads_spread_over_hours_fill_nothing() -> None:
    reader = Reader()
    for position in random.Random(4).sample(range(COUNT), 60):
        reader.read(position)
        reader.now_s += lookahead.EPOCH_S / 8
    assert not reader.fills


def test_reads_of_what_is_here_fill_nothing() -> None:
    reader = Reader()
    reader.held = {(Face.IMAGE, at) for at in range(COUNT)}
    for position in random.Random(5).sample(range(COUNT), 500):
        reader.read(position)
    assert not reader.fills


def test_an_image_and_its_annotation_come_together() -> None:
    reader = Reader()
    for position in range(100):
        reader.read(position)
        reader.read(position, face=Face.ANNOTATION)
    assert reader.asked[-1].faces in ((Face.IMAGE, Face.ANNOTATION), (Face.ANNOTATION, Face.IMAGE))
    shuffled = Reader()
    for position in random.Random(6).sample(range(COUNT), 60):
        shuffled.read(position)
        shuffled.read(position, face=Face.ANNOTATION)
    assert Fill(1, (Face.IMAGE, Face.ANNOTATION)) in shuffled.fills


def test_images_alone_bring_no_annotations() -> None:
    reader = Reader()
    for position in range(200):
        reader.read(position)
    assert {asked.faces for asked in reader.asked} == {(Face.IMAGE,)}


@pytest.mark.parametrize(
    ("mode", "ahead", "fills"), [("off", False, 0), ("sequential", True, 0), ("all", True, 1)]
)
def test_the_mode_bounds_what_is_done(mode: str, ahead: bool, fills: int) -> None:
    reader = Reader(mode)
    for position in [*range(50), *random.Random(7).sample(range(COUNT), 60)]:
        reader.read(position)
    assert bool(reader.asked) is ahead
    assert len(reader.fills) == fills


def test_a_position_that_does_not_exist_is_nothing() -> None:
    assert LookAhead().seen(Sight(1, Face.IMAGE, 7, 1, True), 7, "auto") == []


def test_many_readers_and_runs_stay_bounded() -> None:
    reader = Reader(count=10**6)
    draw = random.Random(8)
    for n in range(3000):
        at = draw.randrange(10**6)
        reader.read(at, reader=n, whole=False)
        reader.read(at + 1, reader=n, whole=False)
    side = reader.policy._datasets[1].sides[0]
    assert len(side.ways[0].runs) <= lookahead.RUNS
    assert len(side.ways[0].recent) <= lookahead.READERS
    assert len(side.missed) <= lookahead.MISSED


def test_a_walk_by_inode_is_followed_along_inodes() -> None:
    policy = LookAhead(clock=lambda: 0.0)
    names = random.Random(9).sample(range(COUNT), COUNT)     # the position by name of each position by inode
    held: set[int] = set()
    missed = 0
    for inode, name in enumerate(names[:500]):
        missed += inode not in held
        for found in policy.seen(
            Sight(1, Face.IMAGE, name, 1, inode not in held, inode=inode), COUNT, "auto"
        ):
            assert isinstance(found, Ahead)
            assert found.axis is Axis.INODES
            held.update(found.positions)
    assert missed <= 3
