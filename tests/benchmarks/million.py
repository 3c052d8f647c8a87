"""A million entries: `find | wc -l`, and the memory of the process that serves them.

    python -m tests.benchmarks million [--images 1000000]

The emulator's listing is taken in first, once, which is not what is measured here. Then a fresh mount, of
which the kernel knows nothing, is walked, twice. Of the serving process the peak of its resident set counts
(VmHWM), shared pages of the interpreter included.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from pictofs.emulator.launch import start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.fetch import Mounted, cpu_s

LIMIT_S, LIMIT_MB = 10.0, 150.0
_PATIENCE_S = 900.0


def walked(folder: Path, serving: int) -> tuple[float, float, int]:
    """(seconds, CPU seconds of it in both processes, entries) of `find | wc -l`."""
    began_s, before_s = time.monotonic(), cpu_s(serving) + _children_s()
    ran = subprocess.run(
        f"find '{folder}' -type f | wc -l", shell=True, capture_output=True, text=True, timeout=_PATIENCE_S,
        check=True,
    )  # fmt: skip
    took_s = time.monotonic() - began_s
    return took_s, cpu_s(serving) + _children_s() - before_s, int(ran.stdout)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peak_mb(pid: int) -> float:
    """The largest that a process has been, in MB of 10⁶ bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"process {pid} has no VmHWM")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    asked = parser.parse_args()
    options = {"prefetch": "off", "ttl": "12h", "timeout": "600"}
    settings = EmulatorSettings(images=asked.images, names="plain", annotated=0, rate_limit=0)
    missed = False
    with tempfile.TemporaryDirectory(prefix="pictofs-million-") as scratch:
        cache = Path(scratch) / "cache"
        with start(settings, timeout_s=_PATIENCE_S) as emulator:
            with Mounted(emulator, options, cache) as mount:
                began_s = time.monotonic()
                with os.scandir(mount.dataset / "images") as rows:
                    next(rows)
                fetching = mount.status()["pids"]["fetching"]
                took_s = time.monotonic() - began_s
                print(f"listing taken in: {took_s:.1f} s, fetching process {peak_mb(fetching):.0f} MB")
            with Mounted(emulator, options, cache) as mount:
                images, serving = mount.dataset / "images", mount.status()["pids"]["serving"]
                print(f"a mount that has listed nothing: serving process {peak_mb(serving):.0f} MB")
                for word in ("first", "again"):
                    took_s, busy_s, entries = walked(images, serving)
                    size_mb = peak_mb(serving)
                    met = took_s < LIMIT_S and size_mb < LIMIT_MB and entries >= asked.images
                    missed = missed or not met
                    verdict = "met" if met else "MISSED"
                    print(
                        f"{verdict:7} find | wc -l, {word}: {took_s:.1f} s (< {LIMIT_S:g}), CPU {busy_s:.1f} "
                        f"s for {entries} files, serving process {size_mb:.0f} MB (< {LIMIT_MB:g})"
                    )
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
