"""How long a LOOKUP is in the loop of the serving process, idle and while the fetching process downloads.

    python -m tests.benchmarks lookups [--lookups 4000] [--mbit 100] [--rounds 3]

From the return of the read of /dev/fuse that brings it to the return of the write that answers it, as the
kernel traces the system calls of that thread (tracefs, root); and what the caller of stat sees, in brackets.
Every name is new to the kernel. The emulator, which sends the bytes, shares the machine's CPUs with all.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.epoch_readers import files_below
from tests.benchmarks.fetch import Mounted

IMAGE_BYTES = 60_000
_TRACEFS = Path("/sys/kernel/tracing")
_SYSCALL = re.compile(r"-(\d+) .*\s(\d+\.\d+): sys_exit: NR (\d+)")
_READV, _WRITE = {"x86_64": (19, 1), "aarch64": (65, 64)}.get(os.uname().machine, (0, 0))


@contextmanager
def traced() -> Iterator[Path]:
    """An instance of tracefs that records every thread's readv and write."""
    if not _READV:
        raise SystemExit(f"the numbers of system calls on {os.uname().machine} are not known here")
    if not (_TRACEFS / "instances").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(_TRACEFS)], check=True)
    instance = _TRACEFS / "instances" / f"pictofs-{os.getpid()}"
    instance.mkdir()
    try:
        (instance / "buffer_size_kb").write_text("16384")
        (instance / "trace_clock").write_text("mono")
        event = instance / "events" / "raw_syscalls" / "sys_exit"
        (event / "filter").write_text(f"id == {_READV} || id == {_WRITE}")
        (event / "enable").write_text("1")
        yield instance
    finally:
        instance.rmdir()


def in_loop_us(lines: Iterable[str]) -> list[float]:
    """Microseconds from a readv's return to that of the write behind it, of the thread that does most.

    The trace tells threads by the ids of the machine, which a PID namespace does not know.
    """
    found: dict[str, list[float]] = {}
    read_s: dict[str, float] = {}
    for line in lines:
        event = _SYSCALL.search(line)
        if event is None:
            continue
        thread, at_s, number = event[1], float(event[2]), int(event[3])
        if number == _READV:
            read_s[thread] = at_s
        elif thread in read_s:
            found.setdefault(thread, []).append(1e6 * (at_s - read_s.pop(thread)))
    return max(found.values(), key=len, default=[])


@dataclass
class Found:
    """One state's times in microseconds, over all rounds."""

    loop_us: list[float] = field(default_factory=list)
    seen_us: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return "  ".join(
            f"{word} {_rank(self.loop_us, share):7.0f} ({_rank(self.seen_us, share):7.0f}) µs"
            for word, share in (("median", 0.5), ("90 %", 0.9), ("99 %", 0.99))
        )


def _rank(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def stat_each(paths: list[str]) -> list[float]:
    """What each stat took, by another process, in microseconds."""
    code = (
        "import os,sys,time\n"
        "for path in sys.stdin.read().split('\\n'):\n"
        "    began = time.perf_counter(); os.stat(path); print((time.perf_counter() - began) * 1e6)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(paths), stdout=subprocess.PIPE, text=True, timeout=120,
        check=True,
    )  # fmt: skip
    return [float(line) for line in ran.stdout.split()]


def looked_up(instance: Path, paths: list[str], found: Found) -> None:
    """Look these names up, once."""
    (instance / "trace").write_text("")
    (instance / "tracing_on").write_text("1")
    found.seen_us += stat_each(paths)
    (instance / "tracing_on").write_text("0")
    with (instance / "trace").open() as lines:
        times = in_loop_us(lines)
    if len(times) < len(paths):
        raise SystemExit(f"{len(paths)} names were looked up and {len(times)} answers seen")
    found.loop_us += times


def measure(emulator: Running, scratch: Path, lookups: int, rounds: int) -> tuple[Found, Found, float]:
    """(idle, while bytes come, Mbit a second that came then)."""
    idle, busy, rates = Found(), Found(), list[float]()
    options = {"prefetch": "off", "ttl": "12h"}
    with Mounted(emulator, options, scratch / "cache") as mount:
        # so that a fresh mount knows the names, and its kernel does not
        root = mount.mountpoint / "org"
        below = [files_below(str(root / dataset / "images")) for dataset in sorted(os.listdir(root))]
    with Mounted(emulator, options, scratch / "cache") as mount:
        old, new = str(root), str(mount.mountpoint / "org")
        paths, fetched = ([path.replace(old, new) for path in of_dataset] for of_dataset in below)
        each = len(fetched) // rounds
        with traced() as instance:
            for number in range(rounds):
                mine = paths[2 * number * lookups : 2 * (number + 1) * lookups]
                looked_up(instance, mine[:lookups], idle)
                these = fetched[number * each : (number + 1) * each]
                warming = subprocess.Popen(
                    [sys.executable, "-m", "pictofs", "warm", "--jobs", "32",
                     *these],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                try:
                    before = _sent(emulator)
                    while _sent(emulator) < before + 50 * IMAGE_BYTES:
                        time.sleep(0.05)
                        if warming.poll() is not None:
                            raise SystemExit("nothing was fetched")
                    began_s, before = time.monotonic(), _sent(emulator)
                    looked_up(instance, mine[lookups:], busy)
                    rates.append(8e-6 * (_sent(emulator) - before) / (time.monotonic() - began_s))
                finally:
                    warming.terminate()
                    warming.wait(60)
    return idle, busy, statistics.median(rates)


def _sent(emulator: Running) -> int:
    sent: int = emulator.counters(detail=False)["storage"]["bytes_sent"]
    return sent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lookups", type=int, default=4000)
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    settings = EmulatorSettings(
        images=2 * asked.lookups * asked.rounds, datasets=2, names="plain", image_bytes=IMAGE_BYTES,
        rate_limit=0, bandwidth=int(asked.mbit * 125_000), url_ttl=24 * 3600,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pictofs-lookups-") as scratch, start(settings) as emulator:
        idle, busy, mbit = measure(emulator, Path(scratch), asked.lookups, asked.rounds)
    print("in the loop (as stat sees it)")
    print(f"idle                {idle}")
    print(f"{mbit:4.0f} Mbit/s coming  {busy}")
    ratio = statistics.median(busy.loop_us) / statistics.median(idle.loop_us)
    print(f"{'met' if ratio < 2 else 'MISSED':7} {ratio:5.2f}  < 2  median in the loop, of idle")


if __name__ == "__main__":
    main()
