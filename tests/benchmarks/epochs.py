"""Three epochs over a cache of half the dataset, and how long one file takes while a fill runs.

    python -m tests.benchmarks epochs [--images 1000] [--only half,advised,lru,demand]

Each epoch reads every image once, shuffled anew, by 8 processes, over a mount made anew on the same cache
directory: nothing is in page cache. What counts is 1 - bytes from the storage host / bytes of the dataset.
`demand` reads single files of another dataset, alone and then while the first one is filled.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

import pictofs
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.epoch_readers import files_below
from tests.benchmarks.fetch import LATENCY_MS, Mounted, reader, stored_bytes

READS = 8


def three_epochs(emulator: Running, options: dict[str, str], *, advised: bool) -> list[float]:
    """The share of each epoch that needed no storage host."""
    stored = stored_bytes(emulator)
    saved = []
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as cache:
        for epoch in range(3):
            said = {"cache_size": str(stored // 2), **options}
            with Mounted(emulator, said, Path(cache)) as mount:
                emulator.reset_counters()
                folder = str(mount.dataset / "images")
                if advised:
                    paths = files_below(folder)
                    random.Random(epoch).shuffle(paths)    # as the readers do
                    pictofs.advise(paths)
                reader("walk", folder, "8", str(epoch))
                sent = emulator.counters(detail=False)["storage"]["bytes_sent"]
            saved.append(round(1 - sent / stored, 3))
    return saved


def demand(emulator: Running) -> dict[str, float]:
    """Median milliseconds of a first read, idle and while another dataset is filled.

    Few reads of each dataset: more of them would begin a fill of their own.
    """
    idle: list[float] = []
    filling: list[float] = []
    with Mounted(emulator, {"prefetch": "auto"}) as mount:
        root = mount.mountpoint / "org"
        first, *others = sorted(os.listdir(root))
        singles = [files_below(str(root / name / "images")) for name in others]
        for paths in singles:
            random.Random(3).shuffle(paths)
            idle += map(_took_ms, paths[1:READS])
        filled = files_below(str(root / first / "images"))
        random.Random(4).shuffle(filled)
        for path in filled[:24]:     # begins the fill
            _took_ms(path)
        for paths in singles:
            filling += map(_took_ms, paths[READS : 2 * READS - 1])
        left = mount.status()["queue"]["fill"]
    before, then = statistics.median(idle), statistics.median(filling)
    return {
        "idle_ms": round(before, 1), "filling_ms": round(then, 1), "ratio": round(then / before, 2),
        "left_to_fill": left,
    }  # fmt: skip


def _took_ms(path: str) -> float:
    begun_s = time.monotonic()
    _read(path)
    return (time.monotonic() - begun_s) * 1e3


def _read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--only", default="half,advised,lru,demand")
    asked = parser.parse_args()
    only = asked.only.split(",")
    made = {
        "names": "plain", "rate_limit": 0, "latency_ms": LATENCY_MS, "storage_latency_ms": LATENCY_MS,
    }  # fmt: skip
    with start(EmulatorSettings(images=asked.images, **made)) as emulator:
        if "half" in only:
            print("eviction=epoch:", three_epochs(emulator, {}, advised=False), flush=True)
        if "advised" in only:
            print("eviction=epoch, advised:", three_epochs(emulator, {}, advised=True), flush=True)
        if "lru" in only:
            print("eviction=lru:", three_epochs(emulator, {"eviction": "lru"}, advised=False), flush=True)
    if "demand" in only:
        with start(EmulatorSettings(images=4 * asked.images, datasets=6, **made)) as emulator:
            print("demand:", json.dumps(demand(emulator)), flush=True)


if __name__ == "__main__":
    main()
