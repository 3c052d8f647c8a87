"""What an export spares: `bulk=auto` beside `bulk=off`, in one interleaved run.

    python -m tests.benchmarks bulk [--images 2000] [--rounds 2] [--only annotations,images]

`annotations` is `cp -r annotations` of a dataset that has a completed export. `images` reads every image, in
sorted order, of a dataset of which signed URLs reach a quarter, and whose export holds them all.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.epoch_readers import files_below
from tests.benchmarks.fetch import LATENCY_MS, Mounted, cpu_s, stored_bytes


def annotations(mount: Mounted) -> int:
    """Copies them; how many."""
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as scratch:
        copied = shutil.copytree(mount.dataset / "annotations", Path(scratch) / "copy")
        return len(files_below(str(copied)))


def images(mount: Mounted) -> int:
    """Reads them; how many."""
    paths = files_below(str(mount.dataset / "images"))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
    return len(paths)


WORKLOADS = {"annotations": annotations, "images": images}


def measured(emulator: Running, workload: str, bulk: str) -> dict[str, Any]:
    """One run over a fresh mount with an empty cache."""
    with Mounted(emulator, {"bulk": bulk}) as mount:
        emulator.reset_counters()
        pid = mount.status()["pids"]["fetching"]
        cpu_before_s, begun_s = cpu_s(pid), time.monotonic()
        files = WORKLOADS[workload](mount)
        seconds = time.monotonic() - begun_s
        counters = emulator.counters(detail=False)
        return {
            "files_s": files / seconds,
            "cpu_ms": (cpu_s(pid) - cpu_before_s) * 1e3 / files,
            "api": counters["api"]["requests"],
            "storage": counters["storage"]["requests"],
            "fetched": counters["storage"]["bytes_sent"] / stored_bytes(emulator),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="annotations,images")
    asked = parser.parse_args()
    for workload in asked.only.split(","):
        settings = EmulatorSettings(
            images=asked.images, names="plain", rate_limit=0, latency_ms=LATENCY_MS,
            storage_latency_ms=LATENCY_MS, statuses="new:1",
            batch_cap=asked.images // 4 if workload == "images" else 10_000,
        )  # fmt: skip
        with start(settings) as emulator:
            emulator.mutate(
                "add_export", dataset="Synthetic", name="all", format="pictograph",
                include_images=workload == "images",
            )  # fmt: skip
            runs: dict[str, list[dict[str, Any]]] = {"auto": [], "off": []}
            for _ in range(asked.rounds):
                for bulk, found in runs.items():
                    found.append(measured(emulator, workload, bulk))
            for bulk, found in runs.items():
                medians = {name: round(statistics.median(run[name] for run in found), 3) for name in found[0]}
                print(f"{workload}, bulk={bulk}:", medians, flush=True)


if __name__ == "__main__":
    main()
