"""Reading what is on disk: pictofs against ext4 on the same files and C on libfuse, all in one run.

    python -m tests.benchmarks driver [--quick] [--cpus one|both] [--rounds N] [--only NAME…] [--in FOLDER]
                                      [--files N] [--big-mib N] [--names N]

pictofs is `pictofs mount` over a complete cache (product.py), and once more the kernel driver alone, over a
folder that it has in memory: the difference is what catalog, tree and vfs cost.
Every contestant gets a fresh mount for every measure of every round, in turns, so that a busy moment of the
machine hits all alike; the best round counts. Shown are the time, its share of ext4's speed, and in brackets
the same by the quickest tenth of single files, which repeats where the total does not. `--cpus one` pins
client and daemon (all its processes) to one CPU. Requests are counted by the daemon itself. The C program is
built here, from no_open.c and Debian's libfuse3-dev.
"""

from __future__ import annotations

import argparse
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pictofs.drivers import mountinfo
from pictofs.drivers.kernel import mounting
from pictofs.errors import NotMounted
from tests.benchmarks.product import Contestant, Place, Product
from tests.benchmarks.served import Served

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
FILE_BYTES = 60_000


@contextmanager
def ext4(folder: Path, mountpoint: Path, cpus: Sequence[int]) -> Iterator[Place]:
    """The files where they lie."""
    yield Place(folder)


def alone(io: str) -> Contestant:
    """The kernel driver over a folder that it has in memory."""

    @contextmanager
    def serve(folder: Path, mountpoint: Path, cpus: Sequence[int]) -> Iterator[Place]:
        with Served(folder, mountpoint, io=io, cpus=cpus) as served:
            assert served.negotiated is not None
            assert served.negotiated.io == io, served.negotiated.note
            assert served.child is not None
            yield Place(mountpoint, served.requests, {"serving": served.child.pid})

    return serve


@contextmanager
def started(command: list[str], mountpoint: Path, cpus: Sequence[int]) -> Iterator[Place]:
    """A daemon that mounts by itself."""
    mountpoint.mkdir(exist_ok=True)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as daemon:
        try:
            if cpus:
                os.sched_setaffinity(daemon.pid, cpus)
            deadline_s = time.monotonic() + 20.0
            while mountinfo.at(str(mountpoint)) is None:
                if daemon.poll() is not None or time.monotonic() > deadline_s:
                    raise RuntimeError(f"{command[0]} did not mount")
                time.sleep(0.01)
            yield Place(mountpoint, pids={"serving": daemon.pid})
        finally:
            try:
                mounting.unmount(str(mountpoint), lazy=True)
                daemon.wait(5.0)
            except (NotMounted, subprocess.TimeoutExpired):
                daemon.kill()


def c_no_open(program: Path) -> Contestant:
    """The same design in C."""

    def serve(folder: Path, mountpoint: Path, cpus: Sequence[int]) -> AbstractContextManager[Place]:
        return started([str(program), "-f", str(folder), str(mountpoint)], mountpoint, cpus)

    return serve


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a reader does; `count` readers do it at once."""

    label: str
    what: str
    number: int = 1
    count: int = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """Steps on one fresh mount of one folder; `cold`: the files themselves are not in page cache."""

    name: str
    folder: str
    steps: tuple[Step, ...]
    cold: bool = False


MEASURES = (
    Measure(
        "files", "files",
        (
            Step("first read", "epoch", 1), Step("again", "epoch", 2),
            Step("again, 4 processes", "epoch", 3, count=4),
        ),
    ),
    Measure("cold", "files", (Step("first read, caches dropped", "epoch", 1),), cold=True),
    Measure("big", "big", (Step("big first time", "big"), Step("big again", "big"))),
    Measure("random", "big", (Step("random 4 KB first time", "scattered", 20_000),)),
    Measure("many", "many", (Step("list many", "scan"), Step("list many again", "scan"))),
    Measure("ls", "files", (Step("ls -l, cold", "long_list"),)),
)


@dataclass(slots=True)
class Best:
    """The best round: seconds, and the quickest tenth of single files in µs."""

    total_s: float = float("inf")
    tenth_us: float = float("inf")
    requests: dict[str, int] = field(default_factory=dict)

    def take(self, total_s: float, tenth_us: float, requests: dict[str, int]) -> None:
        self.total_s = min(self.total_s, total_s)
        self.tenth_us = min(self.tenth_us, tenth_us)
        self.requests = requests


def read(step: Step, root: Path, names: Path, cpu: str) -> tuple[float, float]:
    """(seconds, µs of the quickest tenth) of the slowest of the readers."""
    command = [sys.executable, "-m", "tests.benchmarks.reader", step.what, str(root), str(names)]
    seeds = (str(step.number + place) for place in range(step.count))
    readers = [
        subprocess.Popen([*command, seed, cpu], stdout=subprocess.PIPE, text=True, cwd=ROOT) for seed in seeds
    ]
    try:
        said = [reader.communicate(timeout=LIMIT_S)[0].split() for reader in readers]
    finally:
        for reader in readers:
            reader.kill()
    if any(reader.returncode for reader in readers):
        raise RuntimeError(f"{step.label} failed on {root}")
    return max(float(words[0]) for words in said), max(float(words[2]) for words in said)


def drop(folder: Path) -> None:
    """The pages of the files out of the page cache; not the whole machine's."""
    os.sync()
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def warm(folder: Path) -> None:
    """The pages of the files into the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes() if path.stat().st_size < 1 << 21 else _skim(path)


def _skim(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


class Run:
    """All rounds. `cpus`: empty, or the CPU that client and daemon share. `joined`: passthrough's cache."""

    def __init__(
        self, place: Path, cache: Path, joined: Path, contestants: dict[str, Contestant], cpus: Sequence[int]
    ) -> None:
        self._place = place
        self._cache = cache
        self._joined = joined
        self._contestants = contestants
        self._cpus = cpus
        self.found: dict[tuple[str, str], Best] = {}      # (contestant, step)

    def round(self, measure: Measure) -> None:
        """One turn of every contestant."""
        folder = self._place / FOLDERS[measure.folder]
        mountpoint = self._place / "mnt"
        names = self._place / f"{measure.folder}.names"
        for name, contestant in self._contestants.items():
            if measure.folder != "many":
                of_mounts = self._joined if name == PASSED else self._cache
                (drop if measure.cold else warm)(of_mounts / "store" if name in WHOLE else folder)
            with contestant(folder, mountpoint, self._cpus) as shown:
                if measure.folder == "files":
                    # the first request of a mount teaches the kernel that there is no OPEN
                    (shown.root / "seen-before.jpg").read_bytes()
                for step in measure.steps:
                    before = shown.requests()
                    cpu = str(self._cpus[0]) if self._cpus else "-"
                    total_s, tenth_us = read(step, shown.root, names, cpu)
                    asked = {
                        opcode: count - before.get(opcode, 0)
                        for opcode, count in shown.requests().items() if count > before.get(opcode, 0)
                    }
                    self.found.setdefault((name, step.label), Best()).take(total_s, tenth_us, asked)

    def table(self, measures: Sequence[Measure]) -> str:
        """Time, share of ext4's speed, and in brackets that of the quickest tenth."""
        lines = [f"{'':28}" + "".join(f"{name:>26}" for name in self._contestants)]
        for step in (step for measure in measures for step in measure.steps):
            base, cells = self.found["ext4", step.label], []
            for name in self._contestants:
                best = self.found[name, step.label]
                share, tenth = base.total_s / best.total_s, base.tenth_us / best.tenth_us
                cells.append(f"{best.total_s:9.3f} s {share:5.2f} ({tenth:4.2f})")
            lines.append(f"{step.label:28}" + "".join(f"{cell:>26}" for cell in cells))
        return "\n".join(lines)

    def counts(self, measures: Sequence[Measure]) -> str:
        """What the kernel asked the driver."""
        lines = []
        for step in (step for measure in measures for step in measure.steps):
            for name in self._contestants:
                if name.startswith(("pictofs", "driver")):
                    asked = self.found[name, step.label].requests
                    words = ", ".join(f"{count} {opcode}" for opcode, count in asked.items()) or "none"
                    lines.append(f"{step.label:28} {name:20} {words}")
        return "\n".join(lines)

    def goals(self) -> str:
        """The goals as ratios, where both sides were measured; (met): by the quickest tenth alone."""
        lines = []
        for text, ours, theirs, label, least in GOALS:
            mine, other = self.found.get((ours, label)), self.found.get((theirs, label))
            if mine is None or other is None:
                continue
            ratio, tenth = other.total_s / mine.total_s, other.tenth_us / mine.tenth_us
            met = "met" if ratio >= least else "(met)" if tenth >= least else "MISSED"
            lines.append(f"{met:7} {ratio:6.2f} ({tenth:4.2f})  >= {least:4.2f}  {text}")
        for text, ours, label, most_s in LIMITS:
            mine = self.found.get((ours, label))
            if mine is not None:
                met = "met" if mine.total_s < most_s else "MISSED"
                lines.append(f"{met:7} {mine.total_s:6.3f} s       <  {most_s:4.1f}  {text}")
        return "\n".join(lines)


C, CACHE, PASSED, FUSEPY = "C no-open", "pictofs", "pictofs passthrough", "pictofs fusepy"
ALONE = "driver alone"
WHOLE = (CACHE, PASSED, FUSEPY)
FOLDERS = {"files": "data/files/images", "big": "data/big/exports", "many": "data/many/images"}
GOALS = (
    ("again, against C", CACHE, C, "again", 0.95),
    ("again with 4 processes, against C", CACHE, C, "again, 4 processes", 0.95),
    ("first read, against C", CACHE, C, "first read", 0.9),
    ("first read, against fusepy", CACHE, FUSEPY, "first read", 2.5),
    ("first read after dropping caches, against ext4", CACHE, "ext4", "first read, caches dropped", 0.5),
    ("the same passed through", PASSED, "ext4", "first read, caches dropped", 0.8),
    ("1 GB first time, against C", CACHE, C, "big first time", 1.5),
    ("the same passed through, against ext4", PASSED, "ext4", "big first time", 0.85),
    ("random 4 KB passed through, against ext4", PASSED, "ext4", "random 4 KB first time", 0.85),
    ("ls -l cold, against ext4", CACHE, "ext4", "ls -l, cold", 0.5),
)
LIMITS = (
    ("listing 200,000", CACHE, "list many", 0.5),
    ("listing 200,000 again", CACHE, "list many again", 0.2),
)


def compiled(place: Path) -> Path | str:
    """The C program, or why there is none."""
    program = place / "no_open"
    if not shutil.which("gcc") or not shutil.which("pkg-config"):
        return "no gcc or pkg-config"
    asking = ["pkg-config", "--cflags", "--libs", "fuse3"]
    flags = subprocess.run(asking, capture_output=True, text=True, check=False)
    if flags.returncode:
        return "no libfuse3-dev"
    source = Path(__file__).with_name("no_open.c")
    subprocess.run(["gcc", "-O2", str(source), *flags.stdout.split(), "-o", str(program)], check=True)
    return program


def populate(place: Path, files: int, big_bytes: int, many: int) -> None:
    """The folders that are read, if they are not there yet."""
    where = {name: place / path for name, path in FOLDERS.items()}
    for path in (*where.values(), place / "data/big/images"):
        path.mkdir(parents=True, exist_ok=True)
    noise = os.urandom(FILE_BYTES)
    names = [f"{number:06}.jpg" for number in range(files)]
    for number, name in enumerate(names):
        (where["files"] / name).write_bytes(noise[number % 4096 :] + noise[: number % 4096])
    (where["files"] / "seen-before.jpg").write_bytes(noise)
    (place / "data/big/images/one.jpg").write_bytes(noise)     # a dataset has images
    with zipfile.ZipFile(where["big"] / "big.zip", "w") as archive, archive.open("big", "w") as file:
        for _ in range(big_bytes >> 20):
            file.write(os.urandom(1 << 20))
    listed = [f"{number:07}.jpg" for number in range(many)]
    for name in listed:
        os.mknod(where["many"] / name, 0o600 | stat.S_IFREG)
    for name, these in (("files", names), ("big", ["big.zip"]), ("many", listed)):
        (place / f"{name}.names").write_text("\n".join(these))


def described(place: Path) -> str:
    """What lies in the folders, whoever filled them."""
    files, many = (len((place / f"{name}.names").read_text().split("\n")) for name in ("files", "many"))
    size_mib = (place / FOLDERS["big"] / "big.zip").stat().st_size >> 20
    return f"{files} files of {FILE_BYTES} bytes, a big one of {size_mib} MiB, {many} names in a directory"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.benchmarks driver", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: under a minute")
    parser.add_argument("--cpus", choices=("one", "both"), default="one")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--files", type=int, help="how many of 60 KB; 5000")
    parser.add_argument("--big-mib", type=int, help="size of the big one; 1024")
    parser.add_argument("--names", type=int, help="names in the long directory; 200000")
    parser.add_argument("--only", nargs="*", choices=[measure.name for measure in MEASURES])
    parser.add_argument("--without", nargs="*", default=[], help="contestants to leave out")
    parser.add_argument("--in", dest="place", type=Path, help="a folder on the disk to measure, kept")
    said = parser.parse_args()
    files, big_mib, many = (500, 64, 20_000) if said.quick else (5000, 1024, 200_000)
    measures = [measure for measure in MEASURES if not said.only or measure.name in said.only]
    with tempfile.TemporaryDirectory(prefix="pictofs-driver-") as scratch:
        place = said.place or Path(scratch)
        if not (place / "many.names").exists():
            populate(
                place, said.files or files, (said.big_mib or big_mib) << 20, said.names or many
            )
        contestants: dict[str, Contestant] = {"ext4": ext4}
        program = compiled(place)
        if isinstance(program, Path):
            contestants[C] = c_no_open(program)
        else:
            print(f"without C: {program}")
        with Product(place / "data", place) as product:
            folders, listed = ("files/images", "big/exports"), ("many/images",)
            product.warm(*folders, listed=listed)
            # a cache of its own: its archive is one file, and the others' is many blocks, as it is without it
            joined = {"io": "passthrough", "cache_dir": str(place / "joined")}
            product.warm(*folders, listed=listed, opened="big/exports/big.zip", **joined)
            contestants |= {
                CACHE: product.contestant(io="cache", driver="kernel"),
                PASSED: product.contestant(**joined, driver="kernel"),
                FUSEPY: product.contestant(driver="fusepy"),
                ALONE: alone("cache"),
            }
            contestants = {name: one for name, one in contestants.items() if name not in said.without}
            run = Run(place, product.cache, place / "joined", contestants, [0] if said.cpus == "one" else [])
            where = "client and daemon on one CPU" if said.cpus == "one" else "unpinned"
            rounds = said.rounds or (1 if said.quick else 5)
            for number in range(rounds):
                for measure in measures:
                    run.round(measure)
                    print(f"round {number + 1} of {rounds}: {measure.name}", file=sys.stderr, flush=True)
                # each round's end, since on a busy machine there may be no other
                print(f"{described(place)}; {where}; the best of {number + 1}")
                tables = (run.table(measures), run.goals(), run.counts(measures))
                print("\n\n".join(("", *tables, "")), flush=True)


if __name__ == "__main__":
    main()
