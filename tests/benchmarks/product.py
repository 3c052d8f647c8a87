"""`pictofs mount` as a contestant: the same bytes as files of an organization, complete in its cache.

The emulator serves the folder, `pictofs warm` fills the cache once, and every measure gets a mount of its own
over that cache: supervisor, serving and fetching process, catalog and store, as users have them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

ROOT = Path(__file__).parents[2]
ORGANIZATION = "org"


@dataclass(slots=True)
class Place:
    """A folder as a contestant shows it; `log` is where its mount speaks."""

    root: Path
    requests: Callable[[], dict[str, int]] = dict
    pids: dict[str, int] = field(default_factory=dict)


Contestant = Callable[[Path, Path, Sequence[int]], AbstractContextManager[Place]]


class Product:
    """An organization of the datasets below `data`, and a cache of it below `scratch`. Context manager."""

    def __init__(self, data: Path, scratch: Path) -> None:
        self._data = data
        self.cache = scratch / "cache"
        self._emulator: Running | None = None
        self._environ: dict[str, str] = {}

    def __enter__(self) -> Product:
        settings = EmulatorSettings(data=self._data, rate_limit=0, url_ttl=24 * 3600)
        self._emulator = start(settings, timeout_s=300.0)
        self._environ = {
            **os.environ,
            "PICTOGRAPH_API_KEY": self._emulator.api_key,
            "PICTOGRAPH_BASE_URL": self._emulator.base_url,
        }
        return self

    def __exit__(self, *_: object) -> None:
        assert self._emulator is not None
        self._emulator.stop()

    def warm(self, *folders: str, listed: Sequence[str] = (), opened: str = "", **options: str) -> None:
        """Fetch all of these unless they are here, list those, open that one until it is one file."""
        with tempfile.TemporaryDirectory(prefix="pictofs-warm-") as scratch:
            mountpoint = Path(scratch) / "mnt"
            mountpoint.mkdir()
            with self._mounted(mountpoint, options) as root:
                self._pictofs("warm", *(str(root / folder) for folder in folders))
                for folder in listed:
                    os.listdir(root / folder)
                if opened:
                    await_one_file(root / opened, Path(options["cache_dir"]) / "store")

    def contestant(self, **options: str) -> Contestant:
        """A mount with these options."""

        @contextmanager
        def serve(folder: Path, mountpoint: Path, cpus: Sequence[int]) -> Iterator[Place]:
            mountpoint.mkdir(exist_ok=True)
            with self._mounted(mountpoint, options) as root:
                pids = json.loads(self._pictofs("status", "--json", str(mountpoint)))["pids"]
                if cpus:
                    for pid in filter(None, pids.values()):
                        pin(pid, cpus)
                here = root / folder.relative_to(self._data)
                os.stat(here)
                settle(pids["fetching"])
                yield Place(here, lambda: operations(mountpoint), pids)

        return serve

    @contextmanager
    def _mounted(self, mountpoint: Path, options: dict[str, str]) -> Iterator[Path]:
        said = {
            "cache_dir": str(self.cache), "cache_size": "90%", "min_free": "1M", "organization": ORGANIZATION,
            "ttl": "12h", "log_file": str(self.cache.parent / "log"), **options,
        }  # fmt: skip
        given = [word for name, value in said.items() for word in ("-o", f"{name}={value}")]
        self._pictofs("mount", *given, str(mountpoint))
        try:
            yield mountpoint / ORGANIZATION
        finally:
            self._pictofs("umount", str(mountpoint))

    def _pictofs(self, *words: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "pictofs", *words],
            env=self._environ, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        if ran.returncode:
            raise SystemExit(f"pictofs {words[0]}: {ran.stderr}")
        return ran.stdout


def settle(pid: int, limit_s: float = 20.0) -> None:
    """Until a process that has just begun rests: what it does for a mount once is no part of a read."""
    before, until_s = -1, time.monotonic() + limit_s
    while time.monotonic() < until_s:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        if ticks == before:
            return
        before = ticks
        time.sleep(0.3)


def await_one_file(path: Path, store: Path, limit_s: float = 120.0) -> None:
    """io=passthrough joins an archive when it is opened; that takes a moment."""
    until_s, size_bytes = time.monotonic() + limit_s, path.stat().st_size
    while size_bytes not in _sizes(store):
        if time.monotonic() > until_s:
            raise SystemExit(f"{path.name} is not joined into one file within {limit_s:g} s")
        path.open("rb").close()
        time.sleep(0.1)


def _sizes(store: Path) -> set[int]:
    found = set()
    for each in store.rglob("*.*.*"):
        with contextlib.suppress(FileNotFoundError):    # a block that is being joined
            found.add(each.stat().st_size)
    return found


def operations(mountpoint: Path) -> dict[str, int]:
    """What the kernel asked so far, by the mount's own count; looking costs a few itself."""
    found: dict[str, int] = {}
    for line in (mountpoint / ".pictofs" / "metrics").read_text().splitlines():
        if line.startswith('pictofs_operations_total{operation="'):
            name, _, count = line.partition('"')[2].partition('"} ')
            found[name.upper()] = int(float(count))
    return found


def pin(pid: int, cpus: Sequence[int]) -> None:
    """All threads of a process on these CPUs, and those it will start."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), cpus)
