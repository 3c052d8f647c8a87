"""A cold epoch: files a second through the mount, beside the vendor's SDK, in one interleaved run.

    python -m tests.benchmarks fetch [--images 2000] [--rounds 3] [--only sorted,…] [--mbit N] [--plot PNG]

The emulator answers 30 ms late on both hosts. Every figure of the mount is of a fresh mount with an empty
cache directory, its clock starting after `pictofs mount` has returned and including the listing; the SDK's
starts at `datasets.download`. Scratch lies under TMPDIR: on ext4, inodes that other programs have deleted
lately make every file that is created several times as dear, to each contender; a tmpfs shows the programs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

ROOT = Path(__file__).parents[2]
LATENCY_MS = 30.0
SDK = "1.69.146"
WORKLOADS = {
    "sorted": "one process, sorted, images",
    "shuffled": "8 processes, shuffled, images",
    "copy": "cp -r, images and annotations",
}
LIMIT_S = 300.0


@dataclass
class Run:
    """One contender at one workload, once."""

    contender: str
    workload: str
    files: int
    seconds: float
    times: list[float] = field(repr=False)    # seconds after its beginning at which each file was there
    cpu_ms: float | None = None               # of the fetching process and its carter, a file
    serving_cpu_ms: float | None = None
    api: int = 0
    storage: int = 0
    fetched: float | None = None              # storage bytes / dataset bytes
    load: float = 0.0

    @property
    def files_s(self) -> float:
        return self.files / self.seconds


class Mounted:
    """`pictofs mount` on an empty cache directory, as a context manager."""

    def __init__(self, emulator: Running, options: dict[str, str], cache: Path | None = None) -> None:
        self._emulator = emulator
        self._scratch = Path(tempfile.mkdtemp(prefix="pictofs-bench-"))
        self.mountpoint = self._scratch / "mnt"
        self.mountpoint.mkdir()
        self.cache = cache or self._scratch / "cache"
        self._options = options
        self._environ = {
            **os.environ,
            "PICTOGRAPH_API_KEY": emulator.api_key,
            "PICTOGRAPH_BASE_URL": emulator.base_url,
        }

    def __enter__(self) -> Mounted:
        said = {
            "cache_dir": str(self.cache), "log_file": str(self._scratch / "log"), "organization": "org",
            "cache_size": "2G", "min_free": "1M", **self._options,
        }  # fmt: skip
        given = [word for name, value in said.items() for word in ("-o", f"{name}={value}")]
        self._pictofs("mount", *given, str(self.mountpoint))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._pictofs("umount", "--lazy", str(self.mountpoint))
        finally:
            if not os.path.ismount(self.mountpoint):
                shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def dataset(self) -> Path:
        root = self.mountpoint / "org"
        return root / sorted(os.listdir(root))[0]

    def status(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._pictofs("status", "--json", str(self.mountpoint)))
        return told

    def _pictofs(self, *words: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "pictofs", *words],
            env=self._environ, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise SystemExit(f"pictofs {words[0]}: {ran.stderr}")
        return ran.stdout


def cpu_s(pid: int) -> float:
    """CPU of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def fetching_cpu_s(pid: int) -> float:
    """Of the fetching process and its carter."""
    children = [
        int(entry)
        for entry in os.listdir("/proc")
        if entry.isdigit() and _parent(entry) == pid
    ]
    return sum(cpu_s(each) for each in (pid, *children))


def _parent(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def reader(*words: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    """One of epoch_readers' in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.epoch_readers", *words],
        env={**os.environ, **(environ or {})}, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S,
        check=False,
    )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"a reader failed: {ran.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


def copied(sources: list[Path]) -> dict[str, Any]:
    """`cp -r`, and when each file had come."""
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as target:
        begun_s, wall_s = time.monotonic(), time.time()
        ran = subprocess.run(["cp", "-r", *map(str, sources), target], check=False, timeout=LIMIT_S)
        ended_s = time.monotonic()
        found = [path.stat() for path in Path(target).rglob("*") if path.is_file()]
        return {
            "begun": begun_s, "ended": ended_s, "bytes": sum(each.st_size for each in found),
            "times": sorted(begun_s + each.st_mtime - wall_s for each in found), "failures": ran.returncode,
        }  # fmt: skip


def with_mount(emulator: Running, workload: str, options: dict[str, str], name: str, stored: int) -> Run:
    with Mounted(emulator, options) as mount:
        pids = mount.status()["pids"]
        emulator.reset_counters()
        before = fetching_cpu_s(pids["fetching"]), cpu_s(pids["serving"])
        if workload == "sorted":
            said = reader("walk", str(mount.dataset / "images"), "1", "-1")
        elif workload == "shuffled":
            said = reader("walk", str(mount.dataset / "images"), "8", "7")
        else:
            said = copied([mount.dataset / "images", mount.dataset / "annotations"])
        used = fetching_cpu_s(pids["fetching"]) - before[0], cpu_s(pids["serving"]) - before[1]
        found = outcome(name, workload, said, emulator, stored)
        found.cpu_ms, found.serving_cpu_ms = (each / found.files * 1e3 for each in used)
        return found


def with_sdk(emulator: Running, workload: str, dataset: str, stored: int) -> Run:
    from tests.installing import installed

    folder = installed("pictograph", SDK)
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as target:
        emulator.reset_counters()
        said = reader(
            "sdk", emulator.base_url.removesuffix("/api/v1/developer"), dataset, target,
            "full" if workload == "copy" else "images_only",
            environ={
                "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))),
                "PICTOGRAPH_API_KEY": emulator.api_key,
            },
        )  # fmt: skip
        return outcome(f"SDK {SDK}", workload, said, emulator, stored)


def outcome(name: str, workload: str, said: dict[str, Any], emulator: Running, stored: int) -> Run:
    if said["failures"]:
        raise SystemExit(f"{name}, {workload}: {said['failures']} failures")
    counters = emulator.counters(detail=False)
    return Run(
        name, workload, len(said["times"]), said["ended"] - said["begun"],
        [at - said["begun"] for at in said["times"]],
        api=counters["api"]["requests"], storage=counters["storage"]["requests"],
        fetched=counters["storage"]["bytes_sent"] / stored, load=os.getloadavg()[0],
    )  # fmt: skip


def first_byte(emulator: Running) -> dict[str, Any]:
    """One image right after mounting: what it took, in requests and in round trips of the latency."""
    with Mounted(emulator, {"prefetch": "off"}) as mount:
        emulator.reset_counters()
        begun_s = time.monotonic()
        folder = mount.dataset / "images"
        path = next(Path(where) / names[0] for where, _, names in os.walk(folder) if names)
        with open(path, "rb") as file:
            file.read(1)
        took_s = time.monotonic() - begun_s
        counters = emulator.counters()
    return {
        "api_requests": counters["api"]["requests"], "storage_requests": counters["storage"]["requests"],
        "seconds": round(took_s, 3), "latencies": round(took_s * 1e3 / LATENCY_MS, 1),
        "routes": counters["api"]["routes"],
    }  # fmt: skip


def stored_bytes(emulator: Running) -> int:
    """Of all images, as the dataset says."""
    import urllib.request

    key = {"X-API-Key": emulator.api_key}
    request = urllib.request.Request(f"{emulator.base_url}/datasets/", headers=key)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
        return int(json.load(answer)["data"][0]["total_size"])


def table(runs: list[Run]) -> str:
    """Medians by workload and contender, and the ratio to the SDK's."""
    lines = [
        "| workload | contender | files/s | of the SDK | CPU ms/file, fetching | serving | API requests "
        "| storage requests | bytes fetched |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for workload, what in WORKLOADS.items():
        mine = [run for run in runs if run.workload == workload]
        peer = [run.files_s for run in mine if run.contender.startswith("SDK")]
        for contender in dict.fromkeys(run.contender for run in mine):
            of = [run for run in mine if run.contender == contender]
            speed = statistics.median(run.files_s for run in of)
            ratio = f"{speed / statistics.median(peer):.2f}" if peer else ""
            last = of[-1]
            lines.append(
                f"| {what} | {contender} | {speed:.0f} | {ratio} | {_ms(of, 'cpu_ms')} "
                f"| {_ms(of, 'serving_cpu_ms')} | {last.api} | {last.storage} | {last.fetched:.3f} |"
            )
    return "\n".join(lines)


def _ms(runs: list[Run], name: str) -> str:
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    return f"{statistics.median(values):.2f}" if values else ""


def plot(runs: list[Run], path: Path) -> None:
    """Files a second over time, a panel for each workload; the last run of each contender."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [each for each in WORKLOADS if any(run.workload == each for run in runs)]
    figure, panels = pyplot.subplots(1, len(shown), figsize=(5 * len(shown), 3.6), squeeze=False)
    for panel, workload in zip(panels[0], shown, strict=True):
        for contender in dict.fromkeys(run.contender for run in runs):
            of = [run for run in runs if (run.workload, run.contender) == (workload, contender)]
            if not of:
                continue
            step_s = 0.25
            counts = [0] * (int(of[-1].seconds / step_s) + 1)
            for at in of[-1].times:
                counts[min(max(0, int(at / step_s)), len(counts) - 1)] += 1
            panel.step([n * step_s for n in range(len(counts))], [n / step_s for n in counts],
                       where="post", label=contender)  # fmt: skip
        panel.set_title(WORKLOADS[workload], fontsize=10)
        panel.set_xlabel("seconds")
        panel.set_ylabel("files/s")
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--no-peers", action="store_true", help="the mount alone")
    parser.add_argument("--prefetch", default="auto", help="one or several of auto, sequential, all, off")
    parser.add_argument("-o", dest="options", action="append", default=[], help="a mount option")
    parser.add_argument("--mbit", type=float, help="the emulator's bandwidth to one client, in Mbit/s")
    parser.add_argument("--first-byte", action="store_true", help="also the first byte after mounting")
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    options = dict(each.split("=", 1) for each in asked.options)
    settings = EmulatorSettings(
        images=asked.images, names="plain", rate_limit=0,
        latency_ms=LATENCY_MS, storage_latency_ms=LATENCY_MS,
        bandwidth=int((asked.mbit or 0) * 125_000),
    )  # fmt: skip
    runs: list[Run] = []
    with start(settings) as emulator:
        dataset = emulator.state()["datasets"][0]["name"]
        stored = stored_bytes(emulator)
        if asked.first_byte:
            print("first byte:", json.dumps(first_byte(emulator)), flush=True)
        for _ in range(asked.rounds):
            for workload in asked.only.split(","):
                for prefetch in asked.prefetch.split(","):
                    name = "pictofs" if prefetch == "auto" else f"pictofs, prefetch={prefetch}"
                    given = {"prefetch": prefetch, **options}
                    runs.append(with_mount(emulator, workload, given, name, stored))
                    print(runs[-1], f"{runs[-1].files_s:.0f} files/s", file=sys.stderr, flush=True)
                if not asked.no_peers:
                    runs.append(with_sdk(emulator, workload, dataset, stored))
                    print(runs[-1], f"{runs[-1].files_s:.0f} files/s", file=sys.stderr, flush=True)
    print(table(runs))
    if asked.plot:
        plot(runs, asked.plot)


if __name__ == "__main__":
    main()
