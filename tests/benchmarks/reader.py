"""What a program does on a mount, timed: `python -m tests.benchmarks.reader WHAT PATH NAMES N CPU`.

Prints the seconds it took, and what one file took in microseconds at the median and at the lowest tenth: on a
machine that does other things too, the tenth is what repeats. Readers use os.open and os.read, as a data
loader at its fastest does.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_CHUNK_BYTES = 1 << 20

Steps = Iterator[None]      # yields after each file, entry or page


def epoch(folder: str, names: list[str], seed: int) -> Steps:
    """Every file once, shuffled; by names alone, since folders lie deeper on one mount than on another."""
    random.Random(seed).shuffle(names)
    os.chdir(folder)
    yield
    for name in names:
        fd = os.open(name, os.O_RDONLY)
        while os.read(fd, _CHUNK_BYTES):
            pass
        os.close(fd)
        yield


def big(folder: str, names: list[str], _: int) -> Steps:
    """One file from end to end."""
    buffer = bytearray(_CHUNK_BYTES)
    yield
    fd = os.open(f"{folder}/{names[0]}", os.O_RDONLY)
    while os.readv(fd, [buffer]):
        yield
    os.close(fd)


def scattered(folder: str, names: list[str], count: int) -> Steps:
    """Pages of 4 KiB here and there."""
    fd = os.open(f"{folder}/{names[0]}", os.O_RDONLY)
    pages = os.fstat(fd).st_size // 4096
    yield
    for page in random.Random(count).sample(range(pages), min(count, pages)):
        os.pread(fd, 4096, page * 4096)
        yield
    os.close(fd)


def scan(folder: str, names: list[str], _: int) -> Steps:
    """Names."""
    yield
    with os.scandir(folder) as rows:
        for _row in rows:
            pass
    yield


def long_list(folder: str, names: list[str], _: int) -> Steps:
    """Names, and the attributes of each."""
    yield
    with os.scandir(folder) as rows:
        for row in rows:
            row.stat()
    yield


WHAT: dict[str, Callable[[str, list[str], int], Steps]] = {
    "epoch": epoch, "big": big, "scattered": scattered, "scan": scan, "long_list": long_list
}


def main() -> None:
    what, path, beside, number, cpu = sys.argv[1:]
    # nobody has to list the mount for the names: they stand in a file outside
    names = Path(beside).read_text().split("\n")
    if cpu != "-":
        os.sched_setaffinity(0, {int(cpu)})
    steps, clock = WHAT[what](path, names, int(number)), time.perf_counter
    next(steps)
    times, began_s = [clock()], clock()
    for _ in steps:
        times.append(clock())
    total_s = clock() - began_s
    each = sorted(after - before for before, after in itertools.pairwise(times)) or [total_s]
    print(total_s, each[len(each) // 2] * 1e6, each[len(each) // 10] * 1e6)


if __name__ == "__main__":
    main()
