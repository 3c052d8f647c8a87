"""Archives on the mount: what looking costs, reading in order beside curl, opening archives of many members.

    python -m tests.benchmarks exports [--size-mb 500] [--rounds 3] [--only look,order,open,million]

The emulator answers 30 ms late on both hosts. Every figure is of a fresh mount with an empty cache directory.
`order` interleaves the mount with curl, which fetches the same signed URL by four ranges at once into files,
as the mount fetches into its store. `million` opens archives of a million members and of more than can be.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import statistics
import subprocess
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from pictofs.api import Client
from pictofs.catalog.model import EXPORT_BLOCK_BYTES
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.benchmarks.fetch import LATENCY_MS, Mounted
from tests.mount.archives import many

DATASET = "Exports"
MEMBER_BYTES = 100_000
RANGES = 4
LISTED = 100_000
MOST = 2_000_000
RANDOM_READS = 50
LINKS = (0, 125_000_000)    # bytes a second
LIMIT_S = 600.0
Row = tuple[str, str, str]


def write(path: Path, size_bytes: int) -> list[str]:
    """Pictures, stored, as exports hold them, and a label for each, deflated; the names."""
    chance = random.Random(1)
    pool = chance.randbytes(4 * MEMBER_BYTES)
    names = []
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(size_bytes // MEMBER_BYTES):
            at = chance.randrange(3 * MEMBER_BYTES)
            info = zipfile.ZipInfo(f"images/{number:06d}.jpg")
            archive.writestr(info, pool[at : at + MEMBER_BYTES])
            label = "0 0.5 0.5 0.25 0.25\n" * 60
            archive.writestr(f"labels/{number:06d}.txt", label, zipfile.ZIP_DEFLATED)
            names.append(info.filename)
    return names


class Asked:
    """What a `with` block took: seconds, and requests and bytes of either host."""

    def __init__(self, emulator: Running) -> None:
        self._emulator = emulator
        self.seconds = 0.0
        self.api = self.storage = self.stored_bytes = 0

    def __enter__(self) -> Asked:
        self._emulator.reset_counters()
        self._begun_s = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._begun_s
        counters = self._emulator.counters(detail=False)
        self.api, self.storage = counters["api"]["requests"], counters["storage"]["requests"]
        self.stored_bytes = counters["storage"]["bytes_sent"]

    @property
    def trips(self) -> str:
        return (
            f"{self.api} + {self.storage} requests, {self.seconds:.2f} s "
            f"({self.seconds * 1e3 / LATENCY_MS:.1f} latencies)"
        )


def ran(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], stdout=subprocess.DEVNULL, check=True, timeout=LIMIT_S)


def look(emulator: Running, archive: Path, names: list[str]) -> list[Row]:
    """Listing an archive, one member by unzip and out of the opened folder, random reads."""
    size_bytes = archive.stat().st_size
    rows = []
    with Mounted(emulator, {}) as mount:
        path = mount.dataset / "exports" / "big.zip"
        with Asked(emulator) as asked:
            ran("unzip", "-l", path)
        share = f"{asked.stored_bytes / size_bytes:.2%} of its bytes"
        rows.append(("`unzip -l`, cold, with the listing of exports", asked.trips, share))
        with Asked(emulator) as asked:
            ran("unzip", "-p", path, names[len(names) // 2])
        rows.append(_member("`unzip -p` of one stored member", asked, MEMBER_BYTES))
        with Asked(emulator) as asked:
            os.listdir(path.with_suffix(""))
        rows.append(("opening it as a folder then", asked.trips, f"{asked.stored_bytes} bytes"))
        with Asked(emulator) as asked:
            (path.with_suffix("") / names[len(names) // 3]).read_bytes()
        rows.append(_member("one stored member out of the folder", asked, MEMBER_BYTES))
        label = names[len(names) // 4].replace("images", "labels").replace("jpg", "txt")
        with zipfile.ZipFile(archive) as local:
            label_bytes = local.getinfo(label).compress_size
        with Asked(emulator) as asked:
            (path.with_suffix("") / label).read_bytes()
        rows.append(_member("one deflated member out of the folder", asked, label_bytes))
        chance = random.Random(3)
        with Asked(emulator) as asked, path.open("rb", buffering=0) as file:
            for _ in range(RANDOM_READS):
                os.pread(file.fileno(), 4096, chance.randrange(size_bytes - 4096))
        each = asked.stored_bytes / RANDOM_READS
        rows.append((f"{RANDOM_READS} random reads of 4 KB", asked.trips, f"{each / 1024:.0f} KiB each"))
    return rows


def _member(what: str, asked: Asked, packed_bytes: int) -> Row:
    blocks = (asked.stored_bytes - packed_bytes) / EXPORT_BLOCK_BYTES
    return what, asked.trips, f"{asked.stored_bytes} bytes: its {packed_bytes} and {blocks:.1f} blocks"


def in_order(emulator: Running, size_bytes: int, rounds: int, bandwidth: int) -> list[Row]:
    """The whole archive in order: the mount and curl in turns."""
    emulator.switch(bandwidth=bandwidth)
    took: dict[str, list[float]] = {"cat": [], "curl": []}
    requests = 0
    for _ in range(rounds):
        with Mounted(emulator, {}) as mount:
            path = mount.dataset / "exports" / "big.zip"
            path.stat()
            with Asked(emulator) as asked:
                ran("cat", path)
            took["cat"].append(asked.seconds)
            requests = asked.storage
        took["curl"].append(_curl(emulator, size_bytes))
        print(f"cat {took['cat'][-1]:.2f} s, curl {took['curl'][-1]:.2f} s", flush=True)
    emulator.switch(bandwidth=0)
    ratio = statistics.median(c / m for c, m in zip(took["curl"], took["cat"], strict=True))
    speed = {name: size_bytes / 1e6 / statistics.median(times) for name, times in took.items()}
    link = f"{bandwidth * 8 / 1e6:.0f} Mbit/s" if bandwidth else "no bound on the link"
    curl, cat = f"{speed['curl']:.0f} MB/s", f"{speed['cat']:.0f} MB/s, {ratio:.2f} of curl"
    return [
        (f"in order, {link}: curl, {RANGES} ranges at once", f"{RANGES} requests", curl),
        (f"in order, {link}: `cat` on the mount", f"{requests} requests", cat),
    ]


def _url(emulator: Running) -> str:
    with Client(emulator.base_url, api_key=emulator.api_key) as client:
        meant = client.datasets.get(DATASET)
        return client.exports.url(meant, client.exports.get(meant, "big")).url


def _curl(emulator: Running, size_bytes: int) -> float:
    url = _url(emulator)
    begun_s = time.monotonic()
    step = -(-size_bytes // RANGES)
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as folder:
        children = [
            subprocess.Popen(["curl", "-s", "-f", "-r", f"{at}-{at + step - 1}", "-o", f"{folder}/{at}", url])
            for at in range(0, size_bytes, step)
        ]
        assert [child.wait(LIMIT_S) for child in children] == [0] * RANGES
        took_s = time.monotonic() - begun_s
        assert sum(path.stat().st_size for path in Path(folder).iterdir()) == size_bytes
    return took_s


def opened(emulator: Running, name: str, count: int) -> list[Row]:
    """Listing an opened archive of so many members, its central directory being here."""
    with Mounted(emulator, {"timeout": "60"}) as mount:
        path = mount.dataset / "exports" / f"{name}.zip"
        begun_s = time.monotonic()
        ran("unzip", "-Z", "-h", path)
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        arrived_s = time.monotonic() - begun_s
        begun_s = time.monotonic()
        try:
            folders = os.listdir(path.with_suffix(""))
        except OSError as error:
            took_s = time.monotonic() - begun_s
            said = f"{errno.errorcode[error.errno or 0]} after {took_s:.1f} s; the .zip is read all the same"
            return [(f"opened: {count:,} members", f"directory read in {arrived_s:.1f} s", said)]
        opened_s = time.monotonic() - begun_s
        found = sum(len(os.listdir(path.with_suffix("") / folder)) for folder in folders)
        listed_s = time.monotonic() - begun_s
        assert found == count, found
    return [
        (
            f"opened: {count:,} members in {len(folders)} folders", f"directory read in {arrived_s:.1f} s",
            f"the first `ls` {opened_s:.2f} s, every name {listed_s:.2f} s",
        )
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--size-mb", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="look,order,open", help="of look, order, open, million")
    asked = parser.parse_args()
    only = asked.only.split(",")
    with tempfile.TemporaryDirectory(prefix="pictofs-bench-") as scratch:
        folder = Path(scratch) / DATASET / "exports"
        folder.mkdir(parents=True)
        (folder.parent / "images").mkdir()
        names = write(folder / "big.zip", asked.size_mb * 1_000_000)
        many(folder / "listed.zip", LISTED)
        if "million" in only:
            many(folder / "million.zip", 1_000_000)
            many(folder / "more.zip", MOST + 1)
        size_bytes = (folder / "big.zip").stat().st_size
        settings = EmulatorSettings(
            data=Path(scratch), rate_limit=0, latency_ms=LATENCY_MS, storage_latency_ms=LATENCY_MS,
        )  # fmt: skip
        steps: dict[str, Callable[[Running], list[Row]]] = {
            "look": lambda emulator: look(emulator, folder / "big.zip", names),
            "order": lambda emulator: [
                row for link in LINKS for row in in_order(emulator, size_bytes, asked.rounds, link)
            ],
            "open": lambda emulator: opened(emulator, "listed", LISTED),
            "million": lambda emulator: [
                row
                for name, count in (("million", 1_000_000), ("more", MOST + 1))
                for row in opened(emulator, name, count)
            ],
        }  # fmt: skip
        rows: list[Row] = []
        with start(settings, timeout_s=300.0) as emulator:
            with urllib.request.urlopen(_url(emulator)) as answer:
                answer.read(1)     # the emulator sums an object when it is first asked for
            for name in only:
                rows += steps[name](emulator)
                print(*rows, sep="\n", flush=True)
    print("| what | took | |\n|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
