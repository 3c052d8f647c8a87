"""What to fetch before it is asked for: pure, from what readers were seen to do.

    Sight ──▶ LookAhead.seen ──▶ Ahead: these positions next     Fill: the whole dataset, in the background

A *position* is a file's place in its dataset, in readdir's order. Three patterns are told apart:

    sequential, strided   a few reads at equal distances begin a *run*; its window doubles while it is hit,
                          and grows fourfold while it is small and every file of it was read.
                          Who has read WALKED files of one without a gap begins the next by its first
                          read: in another directory, or over the annotations after the images; with a
                          larger window, if those were many. Where the
                          order ends, such a run goes on at its beginning, round to where it began: sorted
                          paths begin elsewhere than readdir does
    together              an image and then its annotation (or the other way round), a few times: a run over
                          one fetches both
    epoch                 scattered first reads of whole files, EPOCH_READS of them within EPOCH_S: whoever
                          reads like that reads everything

Whoever reads no file to its end (a thumbnailer, `file`, a reader of headers) begins no epoch: only reads that
reached the end of a file that was missing count. Nothing here knows of bytes, budgets or catalogs: the caller
bounds what it does with the answer.
"""

from __future__ import annotations

import enum
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

FIRST_WINDOW = 4
WINDOW_LIMIT = 2048      # files; the caller may set less, by their size
RUNS = 64                # of one dataset and face: 64 readers with a shard each
RECENT = 4               # positions of one reader that a run may begin from
READERS = 256
LEEWAY = 10              # files of a run that may be told of late, while it is short
LATE = 256               # files that a reader may be ahead of what is told of it
STRIDE_LIMIT = 1024
WALKED = 16              # files without a gap, after which a reader is expected to walk on wherever it goes
RUN_S = 30.0             # a run that nobody followed for so long is over
EPOCH_READS = 16
EPOCH_S = 60.0
REFILL_S = 120.0         # a fill is asked for again no sooner
TOGETHER = 3
MISSED = 4096


class Face(enum.IntEnum):
    """Which of the two files at a position."""

    IMAGE = 0
    ANNOTATION = 1

    @property
    def other(self) -> Face:
        """The one beside it."""
        return Face(1 - self)


class Axis(enum.IntEnum):
    """Along which order of the files of a directory."""

    NAMES = 0
    INODES = 1


class Sight(NamedTuple):
    """A reader was seen: it misses a file (`missing`), or has read from one that is here.

    `position` is by name, `inode` by inode number, within the same dataset. `whole`: it read up to the file's
    end. `fills`: this reader may set off the fill of a dataset.
    """

    dataset: int
    face: Face
    position: int
    reader: int
    missing: bool
    whole: bool = False
    fills: bool = True
    inode: int = -1     # nobody walks that way


class Ahead(NamedTuple):
    """Fetch these, in this order, before they are asked for."""

    dataset: int
    faces: tuple[Face, ...]
    positions: range
    axis: Axis = Axis.NAMES
    run: int = 0        # which of the runs it is of


class Fill(NamedTuple):
    """Fetch everything that is missing, when nothing more urgent is to be done."""

    dataset: int
    faces: tuple[Face, ...]


@dataclass(slots=True)
class _Run:
    """A reader, or several, that walk with a stride."""

    at: int
    stride: int
    first: int          # its first window
    ahead: int          # the first position that was not asked for yet
    seen_s: float
    begun: int          # where it began, and how many files of it were really read
    window: int = 0
    told: int = 1
    straight: int = 0   # reads one right after the other, until now
    number: int = field(default_factory=itertools.count(1).__next__)


@dataclass(slots=True)
class _Way:
    """What is known of walks along one axis."""

    runs: list[_Run] = field(default_factory=list)
    recent: OrderedDict[int, deque[int]] = field(default_factory=OrderedDict)  # by reader
    walkers: OrderedDict[int, _Run] = field(default_factory=OrderedDict)       # reader → its last long run


@dataclass(slots=True)
class _Side:
    """What is known of one face of a dataset."""

    ways: tuple[_Way, _Way] = field(default_factory=lambda: (_Way(), _Way()))
    missed: OrderedDict[int, bool] = field(default_factory=OrderedDict)  # position → on a run
    scattered: OrderedDict[int, float] = field(default_factory=OrderedDict)
    filled_s: float = float("-inf")


@dataclass(slots=True)
class _Dataset:
    """What is known of one dataset."""

    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    last: OrderedDict[int, tuple[Face, int]] = field(default_factory=OrderedDict)  # by reader
    pairs: int = 0


class LookAhead:
    """The patterns of all datasets."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._datasets: dict[int, _Dataset] = {}

    def forget(self, dataset: int) -> None:
        """The order of a dataset is another: positions mean something else."""
        self._datasets.pop(dataset, None)

    def seen(
        self, sight: Sight, count: int, mode: str, limit: int = WINDOW_LIMIT, first: int = FIRST_WINDOW
    ) -> list[Ahead | Fill]:
        """What to do about it.

        `count` is how many positions there are, `first` and `limit` the first window and the largest, `mode`
        the option prefetch.
        """
        if mode == "off" or not 0 <= sight.position < count:
            return []
        dataset = self._datasets.get(sight.dataset)
        if dataset is None:
            dataset = self._datasets[sight.dataset] = _Dataset()
        side = dataset.sides[sight.face]
        now_s = self._clock()
        self._pair(dataset, sight)
        found: list[Ahead | Fill] = []
        # What was missed is told once more when it has been read, a little later and out of turn.
        echo = not sight.missing and sight.position in side.missed
        run, axis = None, Axis.NAMES
        if not echo:
            run, axis = self._find(dataset.sides, sight, count, now_s, first)
        if sight.missing:
            side.missed[sight.position] = run is not None
            _bound(side.missed, MISSED)
        if run is not None:
            faces = (sight.face, sight.face.other) if dataset.pairs >= TOGETHER else (sight.face,)
            for positions in _around(_widen(run, count, limit), count):
                found.append(Ahead(sight.dataset, faces, positions, axis, run.number))
        if mode != "sequential" and sight.fills and self._epoch(side, sight, mode, now_s):
            faces = (Face.IMAGE, Face.ANNOTATION) if dataset.pairs >= TOGETHER else (sight.face,)
            found.append(Fill(sight.dataset, faces))
        return found

    def _pair(self, dataset: _Dataset, sight: Sight) -> None:
        """An image and its annotation, one right after the other by the same reader."""
        before = dataset.last.get(sight.reader)
        if before == (sight.face.other, sight.position):
            dataset.pairs = min(dataset.pairs + 1, 2 * TOGETHER)
        elif before is not None and before[0] == sight.face and before[1] != sight.position:
            dataset.pairs = max(0, dataset.pairs - 1)  # the one before went without
        dataset.last[sight.reader] = (sight.face, sight.position)
        _bound(dataset.last, READERS)

    def _find(
        self, sides: tuple[_Side, _Side], sight: Sight, count: int, now_s: float, first: int
    ) -> tuple[_Run | None, Axis]:
        """The run that a read belongs to, begun here if need be; None for a scattered one."""
        side, other = sides[sight.face], sides[sight.face.other]
        places = [(Axis.NAMES, sight.position)]
        if sight.inode >= 0:
            places.append((Axis.INODES, sight.inode))
        for axis, at in places:
            run = self._follow(side.ways[axis], sight, at, count, now_s)
            if run is not None:
                return run, axis
        for axis, at in places:
            run = self._begin(side.ways[axis], other.ways[axis], sight, at, now_s, first)
            if run is not None:
                return run, axis
        return None, Axis.NAMES

    def _follow(self, way: _Way, sight: Sight, position: int, count: int, now_s: float) -> _Run | None:
        for run in way.runs:
            # A run that goes round counts on behind the end.
            at = position + count if run.ahead > count and position < run.begun else position
            steps, off = divmod(at - run.at, run.stride)
            if off:
                continue
            asked = (run.ahead - run.at) // run.stride
            # Reads of what is here are told late: who has used up the window is beyond it by then. A miss
            # behind a run is no business of it, or a run at the end of a dataset would claim all of it; nor
            # is what lies before its beginning, where another run may be on its way.
            late = 0 if sight.missing else min(LATE, (run.at - run.begun) // run.stride + 1)
            if -late <= steps <= asked + min(run.window, LATE):
                if steps > 0:
                    run.at = at
                run.told += 1
                run.seen_s = now_s
                if steps:
                    run.straight = run.straight + 1 if steps == 1 else 0
                if run.straight >= WALKED:
                    way.walkers[sight.reader] = run
                    way.walkers.move_to_end(sight.reader)
                    _bound(way.walkers, READERS)
                return run
        return None

    def _begin(
        self, way: _Way, beside: _Way, sight: Sight, at: int, now_s: float, first: int
    ) -> _Run | None:
        reader = sight.reader
        recent = way.recent.get(reader)
        if recent is None:
            recent = way.recent[reader] = deque(maxlen=RECENT)
        way.recent.move_to_end(reader)
        _bound(way.recent, READERS)
        if recent and recent[-1] == at:
            return None  # the same file once more
        stride = _stride(recent, at)
        if not stride and sight.missing:
            # once: the next run has to show itself again
            walked = _walker(way, reader) or _walker(beside, reader)
            if walked is not None and now_s - walked.seen_s < RUN_S:
                stride = walked.stride
                first = max(first, min(walked.straight // 4, 4 * first))
        recent.append(at)
        if not stride:
            return None
        way.runs = [run for run in way.runs if now_s - run.seen_s < RUN_S][-(RUNS - 1) :]
        run = _Run(at, stride, first, at + stride, now_s, at)
        way.runs.append(run)
        return run

    def _epoch(self, side: _Side, sight: Sight, mode: str, now_s: float) -> bool:
        """Whether everything is to be fetched."""
        if now_s - side.filled_s < REFILL_S:
            return False
        if mode == "all":
            side.filled_s = now_s
            return True
        if sight.missing or not sight.whole or side.missed.get(sight.position, True):
            return False
        side.missed[sight.position] = True  # it counts once
        side.scattered[sight.position] = now_s
        while side.scattered and now_s - next(iter(side.scattered.values())) > EPOCH_S:
            side.scattered.popitem(last=False)
        if len(side.scattered) < EPOCH_READS:
            return False
        side.scattered.clear()
        side.filled_s = now_s
        return True


def _walker(way: _Way, reader: int) -> _Run | None:
    """The last long run of a reader, forgotten; where nobody knows who reads (0), of whoever walked last."""
    if not reader and way.walkers:
        return way.walkers.popitem()[1]
    return way.walkers.pop(reader, None)


def _stride(recent: deque[int], at: int) -> int:
    """The distance at which a reader walks; 0 while none shows."""
    if not recent:
        return 0
    step = at - recent[-1]
    if at - 1 in recent:
        return 1
    if len(recent) >= 2 and recent[-1] - recent[-2] == step and abs(step) <= STRIDE_LIMIT:
        return step
    return 0


def _widen(run: _Run, count: int, limit: int) -> range:
    """The positions to ask for now; none while more than half of the window is still ahead of the reader.

    Nor while less than half of what the run went past was read: then it is scattered reads that fall into its
    window by chance.
    """
    if run.told < (run.at - run.begun) // run.stride // 2 - LEEWAY:
        return range(0)
    left = (run.ahead - run.at) // run.stride - 1
    if left > run.window // 2:
        return range(0)
    run.window = _grown(run, limit)
    first = run.ahead if left >= 0 else run.at + run.stride
    end = run.at + run.stride * (run.window + 1)
    round_to = count + run.begun - 1 if run.stride == 1 and run.at - run.begun >= WALKED else count
    end = min(end, round_to) if run.stride > 0 else max(end, -1)
    positions = range(first, end, run.stride)
    if positions:
        run.ahead = positions[-1] + run.stride
    return positions


def _grown(run: _Run, limit: int) -> int:
    """The window after this one. mm/readahead.c, get_next_ra_size."""
    if not run.window:
        grown = run.first
    elif run.window < limit // 16 and run.straight >= run.window // 2:
        grown = 4 * run.window
    else:
        grown = 2 * run.window
    return max(1, min(grown, limit))


def _around(positions: range, count: int) -> Iterator[range]:
    """These positions, those behind the end being the first ones once more."""
    for part in (
        range(positions.start, min(positions.stop, count), positions.step),
        range(max(0, positions.start - count), positions.stop - count),
    ):
        if part:
            yield part


def _bound(kept: OrderedDict[Any, Any], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
