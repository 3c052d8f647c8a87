"""Who reads in the fetch benchmark, each in a process of its own: `python -m tests.benchmarks.epoch_readers`.

    walk FOLDER PROCESSES SEED     reads every file below FOLDER: sorted by one, shuffled by several
    sdk URL DATASET FOLDER MODE    the vendor's `datasets.download`, found on PYTHONPATH

Prints one JSON object: {"begun": s, "ended": s, "times": [s of each file], "bytes": n, "failures": n}; all
seconds are of the machine's monotonic clock, so that processes can be compared.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import sys
import time
from typing import Any

CHUNK_BYTES = 1 << 20


def files_below(folder: str) -> list[str]:
    """Every file, sorted by path, as a data set class lists them."""
    return sorted(os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)


def read_all(paths: list[str]) -> tuple[list[float], int]:
    """When each file had been read whole, and the bytes of all."""
    times, size_bytes = [], 0
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        while data := os.read(fd, CHUNK_BYTES):
            size_bytes += len(data)
        os.close(fd)
        times.append(time.monotonic())
    return times, size_bytes


def walk(folder: str, processes: int, seed: int) -> dict[str, Any]:
    """Lists and reads. Of several processes each takes every n-th of one shuffled order."""
    begun_s = time.monotonic()
    paths = files_below(folder)
    if processes == 1 and seed < 0:
        parts = [read_all(paths)]
    else:
        random.Random(seed).shuffle(paths)
        with multiprocessing.Pool(processes) as pool:
            parts = pool.map(read_all, [paths[n::processes] for n in range(processes)], chunksize=1)
    times = sorted(at for part, _ in parts for at in part)
    return {
        "begun": begun_s, "ended": times[-1], "times": times, "failures": 0,
        "bytes": sum(size_bytes for _, size_bytes in parts),
    }  # fmt: skip


def sdk(base_url: str, dataset: str, folder: str, mode: str) -> dict[str, Any]:
    """What the vendor's own client makes of it, with as many workers as the goal names."""
    import pictograph

    client = pictograph.Client(os.environ["PICTOGRAPH_API_KEY"], base_url=base_url)
    times: list[float] = []
    begun_s = time.monotonic()
    report = client.datasets.download(
        dataset, folder, mode=mode, max_workers=20, progress=lambda *_: times.append(time.monotonic())
    )
    return {
        "begun": begun_s, "ended": time.monotonic(), "times": sorted(times), "bytes": 0,
        "failures": len(report.failures),
    }  # fmt: skip


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "walk":
        print(json.dumps(walk(rest[0], int(rest[1]), int(rest[2]))))
    elif what == "sdk":
        print(json.dumps(sdk(*rest)))
    else:
        raise SystemExit(f"no such reader: {what}")


if __name__ == "__main__":
    main()
