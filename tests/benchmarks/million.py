"""A million entries: `find | wc -l`, the memory of the process that serves them, and how soon it is back.

    python -m tests.benchmarks million [--images 1000000]

The emulator's listing is taken in first, once, which is not what is measured here. Then a fresh mount, of
which the kernel knows nothing, is walked, twice. Of the serving process the peak of its resident set counts
(VmHWM), shared pages of the interpreter included. Then each of the two processes is killed, a few times, and
a file is read that is not here: until its bytes have come.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from pictofs.emulator.launch import start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.fetch import Mounted, cpu_s

LIMIT_S, LIMIT_MB = 10.0, 150.0
RESTART_S, KILLS = 1.0, 5
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


def back_s(mount: Mounted, who: str, path: Path) -> float:
    """How long a file that is not here takes to read after that process was killed."""
    os.kill(mount.status()["pids"][who], signal.SIGKILL)
    began_s = time.monotonic()
    path.read_bytes()
    return time.monotonic() - began_s


def some_files(images: Path, count: int) -> list[Path]:
    """The first few files below a folder."""
    return list(itertools.islice((each for each in images.rglob("*") if each.is_file()), count))


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
            began_s = time.monotonic()
            with Mounted(emulator, options, cache) as mount:
                os.stat(mount.dataset / "images")
                print(f"mounted anew, its first answer after {time.monotonic() - began_s:.2f} s")
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
                paths = some_files(images, 2 * KILLS + 1)
                paths.pop().read_bytes()  # the URLs are there
                for who in ("fetching", "serving"):
                    took = sorted(back_s(mount, who, paths.pop()) for _ in range(KILLS))
                    missed = missed or took[KILLS // 2] >= RESTART_S
                    verdict = "met" if took[KILLS // 2] < RESTART_S else "MISSED"
                    told = ", ".join(f"{each:.2f}" for each in took)
                    print(f"{verdict:7} {who} process killed, the next file after {told} s (< {RESTART_S:g})")
    raise SystemExit(int(missed))


if __name__ == "__main__":
    main()
