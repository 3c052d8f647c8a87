"""`kill -9` of the serving or the fetching process while four readers read, cold and warm: what they notice.

    python -m tests.benchmarks killing [--times 50] [--seed 1] [--io cache]

Each round mounts an emulator with an empty cache and has every reader read every file some times, in an order
of its own: the first time bytes come from the service, then from disk (page cache is given back after each
file, or nobody would be asked). Meanwhile one of the two processes is killed every now and then. A read that
fails or brings a wrong byte is a failure; the slowest read is the longest pause.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from pictofs.mount import places, record

READERS = 4
IMAGES = 300
IMAGE_BYTES = 60_000
EPOCHS = ("cold", "warm", "warm", "warm", "warm")  # warm ones are short
BANDWIDTH_BYTES_S = 6 << 20  # a cold epoch takes some seconds, and so do its kills
APART_S = (0.4, 1.6)
# A fetching process that dies before it has answered, time and again, is held to be broken, and the mount is
# given up: on a busy machine a Python takes seconds to start. So it lives so long before it is killed.
LIVES_S = {"serving": 0.0, "fetching": 3.0}
_COMMAND_LIMIT_S = 60.0
_ROUND_LIMIT_S = 90.0


@dataclass
class Report:
    """What happened."""

    killed: dict[str, int] = field(default_factory=lambda: {"serving": 0, "fetching": 0})
    during: dict[str, int] = field(default_factory=lambda: {"cold": 0, "warm": 0})
    rounds: int = 0
    files: int = 0
    failures: list[str] = field(default_factory=list)
    longest_s: dict[str, float] = field(default_factory=lambda: {"cold": 0.0, "warm": 0.0})

    @property
    def kills(self) -> int:
        """Of both."""
        return sum(self.killed.values())

    def __str__(self) -> str:
        pauses = ", ".join(f"{epoch} {seconds:.2f} s" for epoch, seconds in self.longest_s.items())
        return (
            f"{self.kills} kills ({self.killed['serving']} serving, {self.killed['fetching']} fetching; "
            f"{self.during['cold']} in a cold epoch, {self.during['warm']} in warm ones) in "
            f"{self.rounds} rounds; {self.files} files read, {len(self.failures)} failures; "
            f"longest pause: {pauses}"
        )


def read_all(folder: str, truth: dict[str, str], seed: str) -> dict[str, Any]:
    """A reader: every file once an epoch, in its own order."""
    order, failures, longest = sorted(truth), [], {"cold": 0.0, "warm": 0.0}
    chance, cold_until_s = random.Random(seed), 0.0
    for epoch in EPOCHS:
        if epoch == "warm" and not cold_until_s:
            cold_until_s = time.monotonic()
        chance.shuffle(order)
        for name in order:
            began_s = time.monotonic()
            try:
                found = _digest(f"{folder}/{name}")
            except OSError as error:
                failures.append(f"{epoch} {name}: {error}")
                continue
            longest[epoch] = max(longest[epoch], time.monotonic() - began_s)
            if found != truth[name]:
                failures.append(f"{epoch} {name}: wrong bytes")
    return {
        "files": len(EPOCHS) * len(order), "failures": failures, "longest_s": longest,
        "cold_until_s": cold_until_s,
    }  # fmt: skip


def _digest(path: str) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        body = hashlib.sha1()
        while part := os.read(fd, 1 << 20):
            body.update(part)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return body.hexdigest()


def pictures(folder: Path, images: int, seed: int) -> dict[str, str]:
    """A dataset on disk for the emulator; the digest of each image."""
    into = folder / "Killing" / "images"
    into.mkdir(parents=True)
    drawn = io.BytesIO()
    Image.new("RGB", (16, 16), (seed % 256, 9, 9)).save(drawn, "JPEG")
    chance, truth = random.Random(seed), {}
    for number in range(images):
        # what follows a JPEG's end is no part of the picture, and makes every file another
        body = drawn.getvalue() + chance.randbytes(chance.randrange(IMAGE_BYTES // 2, IMAGE_BYTES))
        (into / f"{number:05}.jpg").write_bytes(body)
        truth[f"{number:05}.jpg"] = hashlib.sha1(body).hexdigest()
    return truth


class Mounted:
    """The emulator mounted by the command line; unmounted however the `with` ends."""

    def __init__(self, service: Running, folder: Path, *options: str) -> None:
        self.mountpoint = folder / "mnt"
        self.log = folder / "log"
        self._environ = {
            **os.environ, "PICTOGRAPH_API_KEY": service.api_key, "PICTOGRAPH_BASE_URL": service.base_url,
        }  # fmt: skip
        self._options = [f"cache_dir={folder / 'cache'}", f"log_file={self.log}", "organization=o", *options]

    def __enter__(self) -> Mounted:
        self.mountpoint.mkdir(parents=True)
        self._pictofs("mount", "-o", ",".join(self._options), str(self.mountpoint))
        return self

    def __exit__(self, *_: object) -> None:
        self._pictofs("umount", "--lazy", str(self.mountpoint))

    def record(self) -> record.Record | None:
        """Who serves."""
        return record.of_mountpoint(places.run_dir(os.environ, os.getuid()), str(self.mountpoint))

    def _pictofs(self, *words: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "pictofs", *words],
            env=self._environ, capture_output=True, text=True, timeout=_COMMAND_LIMIT_S, check=False,
        )  # fmt: skip
        if ran.returncode:
            log = self.log.read_text() if self.log.exists() else ""
            raise RuntimeError(f"pictofs {words[0]}: {ran.stderr}{log[-3000:]}")


def age_s(pid: int) -> float:
    """How long a process lives; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def kill_on(
    mounted: Mounted, times: int, chance: random.Random, report: Report, over: threading.Event,
    at_s: list[float],
) -> None:
    """Kill one of the two processes now and then, until it was `times` or the readers are done.

    `at_s` takes when, by the machine's monotonic clock, which the readers have too.
    """
    while report.kills < times and not over.wait(chance.uniform(*APART_S)):
        which = chance.choice(("serving", "fetching"))
        known = mounted.record()
        pid = getattr(known, which, 0)
        if not pid or age_s(pid) < LIVES_S[which]:
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it is being replaced
        report.killed[which] += 1
        at_s.append(time.monotonic())


def measure(times: int, *, seed: int = 1, options: tuple[str, ...] = (), images: int = IMAGES) -> Report:
    """Rounds until `times` kills were made."""
    report, chance = Report(), random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="pictofs-killing-") as where:
        scratch = Path(where)
        truth = pictures(scratch / "data", images, seed)
        settings = EmulatorSettings(
            data=scratch / "data", rate_limit=1_000_000, bandwidth=BANDWIDTH_BYTES_S, storage_latency_ms=20
        )
        with start(settings) as service:
            while report.kills < times:
                folder = scratch / f"round{report.rounds}"
                report.rounds += 1
                with Mounted(service, folder, *options) as mounted:
                    _round(mounted, truth, times, chance, report)
    return report


def _round(
    mounted: Mounted, truth: dict[str, str], times: int, chance: random.Random, report: Report
) -> None:
    images = str(mounted.mountpoint / "o" / "Killing" / "images")
    readers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.killing", "--reader", images, str(chance.random())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )
        for _ in range(READERS)
    ]  # fmt: skip
    over, at_s, cold_until_s = threading.Event(), list[float](), 0.0
    killer = threading.Thread(target=kill_on, args=(mounted, times, chance, report, over, at_s))
    killer.start()
    try:
        for reader in readers:
            assert reader.stdin is not None
            reader.stdin.write(json.dumps(truth))
            reader.stdin.close()
            reader.stdin = None
        for reader in readers:
            found = json.loads(reader.communicate(timeout=_ROUND_LIMIT_S)[0])
            report.files += found["files"]
            report.failures += found["failures"]
            cold_until_s = max(cold_until_s, found["cold_until_s"])
            for epoch, seconds in found["longest_s"].items():
                report.longest_s[epoch] = max(report.longest_s[epoch], seconds)
    finally:
        over.set()
        killer.join()
        for reader in readers:
            reader.kill()
            reader.communicate()
    for killed_s in at_s:
        report.during["cold" if killed_s < cold_until_s else "warm"] += 1


def main() -> None:
    """The command line; `--reader` is how the readers are started."""
    if sys.argv[1:2] == ["--reader"]:
        print(json.dumps(read_all(sys.argv[2], json.load(sys.stdin), sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--io", choices=("cache", "passthrough"), default="cache")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    report = measure(given.times, seed=given.seed, options=(f"io={given.io}",))
    print(json.dumps(report.__dict__) if given.json else report)
    for failure in report.failures[:20]:
        print(f"  {failure}")
    raise SystemExit(1 if report.failures else 0)


if __name__ == "__main__":
    main()
