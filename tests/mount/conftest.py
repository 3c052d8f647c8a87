"""Real mounts of an emulator, by the command line that people type."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings

COMMAND_LIMIT_S = 110.0


def pictofs(
    *arguments: str | Path, environ: dict[str, str] | None = None, limit_s: float = COMMAND_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """One command line of pictofs, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "pictofs", *map(str, arguments)],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def run(
    *command: str | Path, check: bool = True, limit_s: float = COMMAND_LIMIT_S
) -> subprocess.CompletedProcess[str]:
    """Another program, on a mount, under a time limit."""
    ran = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=limit_s,
        check=False,
    )
    assert not check or ran.returncode == 0, (ran.returncode, ran.stdout[-2000:], ran.stderr[-2000:])
    return ran


def eventually(condition: Callable[[], Any], limit_s: float, what: str) -> Any:
    """What `condition` gives once it is true; fails after `limit_s`. Errors of a file system are "not yet".
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            if found := condition():
                return found
        except OSError as error:
            what = f"{what} ({error})"
        if time.monotonic() > deadline:
            pytest.fail(f"not within {limit_s} s: {what}")
        time.sleep(0.05)


@dataclass
class Mount:
    """A mount that a test may look into, unmount and mount again."""

    emulator: Running
    mountpoint: Path
    cache: Path
    options: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        return self.cache.with_suffix(".log")

    @property
    def root(self) -> Path:
        """The organization's folder."""
        (only,) = self.mountpoint.iterdir()
        return only

    def mount(self, *more: str, source: str | None = None) -> subprocess.CompletedProcess[str]:
        said = [f"cache_dir={self.cache}", f"log_file={self.log}", "log_level=debug", *self.options, *more]
        given = [word for text in said for word in ("-o", text.replace(",", r"\,"))]
        where = [source, str(self.mountpoint)] if source else [str(self.mountpoint)]
        return pictofs("mount", *given, *where, environ=self._environ())

    def umount(self, *more: str) -> subprocess.CompletedProcess[str]:
        return pictofs("umount", *more, self.mountpoint)

    def mounted(self, *more: str) -> Mount:
        ran = self.mount(*more)
        assert ran.returncode == 0, (ran.stderr, self.logged())
        return self

    def status(self) -> dict[str, Any]:
        ran = pictofs("status", "--json", self.mountpoint)
        assert ran.returncode == 0, ran.stderr
        document: dict[str, Any] = json.loads(ran.stdout)
        return document

    def logged(self) -> str:
        """Both logs of this mount."""
        logs = (self.log, self.cache / "fetch.log")
        return "\n".join(log.read_text(errors="replace")[-6000:] for log in logs if log.exists())

    def end(self) -> None:
        """Whatever happened, nothing stays."""
        if os.path.ismount(self.mountpoint) or _listed(self.mountpoint):
            ran = self.umount("--lazy")
            if _listed(self.mountpoint):
                subprocess.run(
                    ["umount", "-l", str(self.mountpoint)], capture_output=True, timeout=20, check=False
                )
            assert ran.returncode == 0, (ran.stderr, self.logged())
        assert "Traceback" not in self.logged(), self.logged()

    def _environ(self) -> dict[str, str]:
        service = {"PICTOGRAPH_API_KEY": self.emulator.api_key, "PICTOGRAPH_BASE_URL": self.emulator.base_url}
        return {**service, **self.environ}


def _listed(mountpoint: Path) -> bool:
    return f" {mountpoint} " in Path("/proc/self/mountinfo").read_text()


Make = Callable[..., Mount]


def making(folder: Path, made: list[Mount]) -> Make:
    def make(emulator: Running, *options: str, cache: Path | None = None, **environ: str) -> Mount:
        mountpoint = folder / f"mnt{len(made)}"
        mountpoint.mkdir()
        mount = Mount(emulator, mountpoint, cache or folder / f"cache{len(made)}", options, environ)
        made.append(mount)
        return mount

    return make


def ended(made: list[Mount], folder: Path) -> None:
    """Ends them at once: each waits a little for readers of its own."""
    with ThreadPoolExecutor(8) as ending:
        errors = [error for error in ending.map(_ended, made) if error]
    shutil.rmtree(folder, ignore_errors=True)
    assert not errors, "\n".join(errors)


def _ended(mount: Mount) -> str:
    try:
        mount.end()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Make]:
    """Makes mounts that are gone when the test is."""
    made: list[Mount] = []
    yield making(tmp_path, made)
    ended(made, tmp_path)


@pytest.fixture(scope="module")
def shared_mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Makes mounts that the tests of a module share."""
    folder, made = tmp_path_factory.mktemp("shared"), list[Mount]()
    yield making(folder, made)
    ended(made, folder)


@pytest.fixture
def emulators() -> Iterator[Callable[..., Running]]:
    """Starts emulators that are gone when the test is."""
    running: list[Running] = []

    def launch(**settings: Any) -> Running:
        running.append(start(EmulatorSettings(**settings)))
        return running[-1]

    yield launch
    for emulator in running:
        emulator.stop()
