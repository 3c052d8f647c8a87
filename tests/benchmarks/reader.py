"""What a program does on a mount, timed from within: `python -m tests.benchmarks.reader WHAT PATH [NUMBER]`.

Prints seconds. Readers use os.open and os.read, as a data loader at its fastest does.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def read_files(folder: str, names: list[str]) -> None:
    for name in names:
        fd = os.open(f"{folder}/{name}", os.O_RDONLY)
        while os.read(fd, _CHUNK_BYTES):
            pass
        os.close(fd)


def shuffled(folder: str, seed: int) -> list[str]:
    """The names without asking the mount for them: listed beside it, in the file NAMES."""
    names = Path(folder + ".names").read_text().split("\n")
    random.Random(seed).shuffle(names)
    return names


def epoch(folder: str, seed: int) -> Callable[[], None]:
    names = shuffled(folder, seed)
    return lambda: read_files(folder, names)


def big(path: str, _: int) -> Callable[[], None]:
    def read() -> None:
        fd = os.open(path, os.O_RDONLY)
        buffer = bytearray(_CHUNK_BYTES)
        while os.readv(fd, [buffer]):
            pass
        os.close(fd)

    return read


def scattered(path: str, count: int) -> Callable[[], None]:
    def read() -> None:
        fd = os.open(path, os.O_RDONLY)
        pages = os.fstat(fd).st_size // 4096
        for page in random.Random(count).sample(range(pages), min(count, pages)):
            os.pread(fd, 4096, page * 4096)
        os.close(fd)

    return read


def scan(folder: str, _: int) -> Callable[[], None]:
    def read() -> None:
        with os.scandir(folder) as rows:
            for _row in rows:
                pass

    return read


def long_list(folder: str, _: int) -> Callable[[], None]:
    def read() -> None:
        with os.scandir(folder) as rows:
            for row in rows:
                row.stat()

    return read


WHAT = {"epoch": epoch, "big": big, "scattered": scattered, "scan": scan, "long_list": long_list}


def main() -> None:
    what, path, number, cpu = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if cpu != "-":
        os.sched_setaffinity(0, {int(cpu)})
    act = WHAT[what](path, number)
    began_s = time.perf_counter()
    act()
    print(time.perf_counter() - began_s)


if __name__ == "__main__":
    main()
