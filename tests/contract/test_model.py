"""Random sequences against a model, on one mount of each driver.

The model is a dictionary of paths and bodies, and for every open file the body that its path had when it was
opened. Whatever order looking, reading, eviction, remote changes and remounts come in, a path leads to its
current body, and a file that is open gives its own version or ESTALE.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pictofs.catalog.model import MEDIA_BLOCK_BYTES
from tests.contract.conftest import drivers
from tests.contract.fetching import Fetching
from tests.contract.test_drivers import await_, errno_of
from tests.contract.world import World
from tests.mounting import Mounted, tree_of

pytestmark = pytest.mark.mount
EXAMPLES = int(os.environ.get("PICTOFS_EXAMPLES", "3"))
STEPS = 30
_dataset_number = itertools.count()

PATHS = st.sampled_from(["a.jpg", "b.png", "d/a.jpg", "d/e/ü.jpg", "d/e/f/last.jpg"])
# about a block boundary too: one block is 8 MiB, a page 4 KiB
SIZES = st.sampled_from([0, 1, 4095, 4096, 70_001, MEDIA_BLOCK_BYTES, MEDIA_BLOCK_BYTES + 5])
SEEDS = st.integers(0, 255)


def body_of(seed: int, size_bytes: int) -> bytes:
    """Bytes that tell their version and their offset."""
    return random.Random(seed).randbytes(997) * (size_bytes // 997) + bytes([seed]) * (size_bytes % 997)


class Stage:
    """One mount of a world that outlives the examples; a remount is a new one on the same catalog."""

    def __init__(self, folder: Path, driver: tuple[str, str]) -> None:
        self.world = World(folder / "cache")
        self.fetching = Fetching(self.world, folder / "fetch.sock")
        self._folder, self._driver = folder, driver
        self.mount = self._mounted()

    def remount(self) -> None:
        self.mount.__exit__()
        self.mount = self._mounted()

    def close(self) -> None:
        try:
            self.mount.__exit__()
        finally:
            self.fetching.stop()
            self.world.close()

    def _mounted(self) -> Mounted:
        driver, io = self._driver
        mount = Mounted(self.fetching, self._folder / "mnt", driver, io=io, ttl_s=0.1, timeout_s=20.0)
        return mount.__enter__()


@pytest.fixture(params=drivers())
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path, request.param)
    yield made
    made.close()


class Model(RuleBasedStateMachine):
    """One dataset of its own; `stage` is set by the test."""

    stage: Stage
    opened: Bundle[int] = Bundle("opened")

    def __init__(self) -> None:
        super().__init__()
        self.name = f"D{next(_dataset_number)}"
        self.truth: dict[str, bytes] = {}
        self.files: dict[int, bytes] = {}
        self.world.dataset(self.name)
        # a dataset of its own kind: listed once before anything happens to it
        await_(lambda: self.name in os.listdir(self.stage.mount.root))

    @property
    def world(self) -> World:
        return self.stage.world

    @property
    def images(self) -> Path:
        return self.stage.mount.root / self.name / "images"

    @rule(path=PATHS, seed=SEEDS, size_bytes=SIZES)
    def upload(self, path: str, seed: int, size_bytes: int) -> None:
        """A new image, or other bytes under the name of one."""
        body = body_of(seed, size_bytes)
        if path in self.truth:
            self.world.replace(self.name, path, body)
        else:
            self.world.image(self.name, path, body)
        self.truth[path] = body
        await_(lambda: _body(self.images / path) == body)

    @precondition(lambda self: self.truth)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        path = data.draw(st.sampled_from(sorted(self.truth)))
        self.world.delete(self.name, path)
        del self.truth[path]
        await_(lambda: errno_of(lambda: os.stat(self.images / path)) == errno.ENOENT)

    @precondition(lambda self: self.truth)
    @rule(data=st.data())
    def evict(self, data: Any) -> None:
        """The bytes are gone from disk, as after an eviction that the catalog has not heard of."""
        path = data.draw(st.sampled_from(sorted(self.truth)))
        with self.world.lock:
            self.world.evict(self.world.node(self.name, path))

    @rule(path=PATHS)
    def lookup(self, path: str) -> None:
        found = errno_of(lambda: os.stat(self.images / path))
        assert found == (0 if path in self.truth else errno.ENOENT)
        if path in self.truth:
            assert os.stat(self.images / path).st_size == len(self.truth[path])

    @rule()
    def walk(self) -> None:
        walked = {str(Path(d, n).relative_to(self.images)) for d, _, ns in os.walk(self.images) for n in ns}
        assert walked == set(self.truth)

    @precondition(lambda self: self.truth)
    @rule(target=opened, data=st.data())
    def open(self, data: Any) -> int:
        path = data.draw(st.sampled_from(sorted(self.truth)))
        fd = os.open(self.images / path, os.O_RDONLY)
        self.files[fd] = self.truth[path]
        return fd

    @rule(fd=opened, offset=st.integers(0, MEDIA_BLOCK_BYTES + 10), length=st.integers(1, 200_000))
    def pread(self, fd: int, offset: int, length: int) -> None:
        if fd in self.files:
            self._held(fd, lambda: os.pread(fd, length, offset), offset, length)

    @rule(fd=opened)
    def fsync_free_read_of_the_end(self, fd: int) -> None:
        if fd in self.files:
            end = max(0, len(self.files[fd]) - 10)
            self._held(fd, lambda: os.pread(fd, 100, end), end, 100)

    @precondition(lambda self: any(self.truth.values()))
    @rule(data=st.data(), length=st.integers(1, 50_000))
    def map(self, data: Any, length: int) -> None:
        path = data.draw(st.sampled_from(sorted(p for p, body in self.truth.items() if body)))
        body = self.truth[path]
        start = data.draw(st.integers(0, len(body) - 1))
        # fusepy reads around the page cache while an older version is open, and then maps privately only
        private = self.stage.mount.driver == "fusepy"
        assert _mapped(self.images / path, start, length, private) == body[start : start + length]

    @rule(fd=consumes(opened))
    def close(self, fd: int) -> None:
        if self.files.pop(fd, None) is not None:
            os.close(fd)

    @rule()
    def remount(self) -> None:
        for fd in self.files:
            os.close(fd)
        self.files.clear()
        before = {path: os.stat(self.images / path).st_ino for path in self.truth}
        self.stage.remount()
        assert {path: os.stat(self.images / path).st_ino for path in self.truth} == before

    @invariant()
    def the_top_is_there(self) -> None:
        assert os.path.isdir(self.images)

    def teardown(self) -> None:
        for fd in self.files:
            os.close(fd)
        try:
            assert tree_of(self.images) == self.truth
        finally:
            with self.world.lock:
                del self.world.datasets[self.name]
            for path in (self.world.cache_dir / "store").iterdir():
                path.unlink()

    def _held(self, fd: int, read: Callable[[], bytes], offset: int, length: int) -> None:
        """A file that is open gives its own version; ESTALE is allowed once its path has moved on."""
        body = self.files[fd]
        seen: list[bytes] = []
        number = errno_of(lambda: seen.append(read()))
        assert number == 0 or (number == errno.ESTALE and body not in self.truth.values())
        assert seen in ([], [body[offset : offset + length]])


def _mapped(path: Path, start: int, length: int, private: bool) -> bytes:
    """In a process of its own: a page fault holds the interpreter lock that this one's service needs."""
    flag = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
    script = (
        "import mmap,os,sys;p,s,n,f=sys.argv[1:];"
        "v=mmap.mmap(os.open(p,os.O_RDONLY),0,int(f),mmap.PROT_READ);"
        "sys.stdout.buffer.write(v[int(s):int(s)+int(n)])"
    )
    command = [sys.executable, "-IS", "-c", script, str(path), str(start), str(length), str(flag)]
    return subprocess.run(command, capture_output=True, check=True, timeout=30).stdout


def _body(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


@pytest.mark.timeout(300)
def test_a_reader_gets_what_the_model_says_in_any_order_of_events(stage: Stage) -> None:
    machine = type("StagedModel", (Model,), {"stage": stage})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
            # real mounts and real time: what fails is replayed whole, not shrunk for minutes
            phases=[Phase.generate],
        ),
    )


def test_a_long_file_reads_right_in_every_way_and_order(stage: Stage, tmp_path: Path) -> None:
    """In the manner of fsx: five hundred random reads of one file by every call there is, beside a copy."""
    draw = random.Random(3)
    body = draw.randbytes(6_300_017)
    stage.world.dataset("Long")
    stage.world.export("Long", "all", body)
    await_(lambda: (stage.mount.root / "Long" / "exports" / "all.zip").exists())
    path = stage.mount.root / "Long" / "exports" / "all.zip"
    plain = os.open(path, os.O_RDONLY)
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    page = mmap.PAGESIZE
    copy = tmp_path / "copy"
    try:
        for _ in range(500):
            offset, length = draw.randrange(len(body) + 5000), draw.choice([1, 100, 4096, 65_536, 1_500_000])
            wanted = body[offset : offset + length]
            way = draw.choice(["pread", "direct", "map", "sendfile", "lseek", "forget"])
            if way == "pread":
                assert os.pread(plain, length, offset) == wanted
            elif way == "direct":
                start = offset // page * page
                into = mmap.mmap(-1, -(-length // page) * page)
                got = os.preadv(direct, [into], start)
                assert into[:got] == body[start : start + len(into)]
                into.close()
            elif way == "map" and wanted:
                assert _mapped(path, offset, length, private=False) == wanted
            elif way == "sendfile":
                with copy.open("wb+") as out:
                    _send(plain, out.fileno(), offset, len(wanted))
                assert copy.read_bytes() == wanted
            elif way == "lseek":
                os.lseek(plain, offset, os.SEEK_SET)
                assert os.read(plain, length) == wanted
                assert os.lseek(plain, 0, os.SEEK_END) == len(body)
            elif way == "forget":
                with contextlib.suppress(OSError):
                    os.posix_fadvise(plain, offset, length, os.POSIX_FADV_DONTNEED)
        shutil.copyfile(path, copy)
        assert copy.read_bytes() == body
    finally:
        os.close(plain)
        os.close(direct)


def _send(source: int, target: int, offset: int, length: int) -> None:
    while length:
        sent = os.sendfile(target, source, offset, length)
        assert sent > 0
        offset, length = offset + sent, length - sent
