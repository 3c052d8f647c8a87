"""A dataset of many pages listed for the first time: when its names can be looked up, and all are there.

    python -m tests.benchmarks listing [--images 100000] [--latency-ms 30,300]

While one reader lists everything, another looks up a file of the first page, one of the middle and one of
the last. The service lists newest first, so the first page holds the names that sort last.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

from pictofs.emulator.launch import start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.fetch import Mounted


def files_below(folder: Path) -> list[str]:
    """Every file, relative to the folder, in order of their numbers."""
    found = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    return sorted((os.path.relpath(path, folder) for path in found), key=os.path.basename)


def once(images: int, latency_ms: float) -> str:
    """One fresh mount, after another one has told the names."""
    settings = EmulatorSettings(images=images, names="plain", rate_limit=0, latency_ms=latency_ms)
    with start(settings) as emulator:
        with Mounted(emulator, {"prefetch": "off"}) as mount:
            names = files_below(mount.dataset / "images")
        with Mounted(emulator, {"prefetch": "off"}) as mount:
            folder = mount.dataset / "images"
            emulator.reset_counters()
            began_s = time.monotonic()
            lister = threading.Thread(target=files_below, args=(folder,))
            lister.start()
            seen_s = []
            for name in (names[-1], names[len(names) // 2], names[0]):
                os.stat(folder / name)
                seen_s.append(time.monotonic() - began_s)
            lister.join()
            took_s = time.monotonic() - began_s
            pages = emulator.counters(detail=False)["api"]["requests"]
    first, middle, last = (f"{each:.2f}" for each in seen_s)
    return f"| {latency_ms:g} | {first} | {middle} | {last} | {took_s:.1f} | {pages} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--latency-ms", default="30,300")
    asked = parser.parse_args()
    print("| latency, ms | a name of the first page, s | of the middle | of the last | all | requests |")
    print("|---|---|---|---|---|---|")
    for latency_ms in map(float, asked.latency_ms.split(",")):
        print(once(asked.images, latency_ms), flush=True)


if __name__ == "__main__":
    main()
