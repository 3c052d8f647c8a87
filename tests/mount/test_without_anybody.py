"""What the kernel reads by itself: every process of pictofs is stopped meanwhile."""

from __future__ import annotations

import os
import random
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running
from tests.mount.conftest import Make, Mount, eventually, pictofs
from tests.mount.kernel.programs import digest, finished, holding, reader

pytestmark = pytest.mark.mount
MEMBER = "images/one.jpg"
READ_ALL = (
    "import hashlib,os,sys\n"
    "body = hashlib.sha1()\n"
    "for name in sorted(os.listdir(sys.argv[1])):\n"
    "    fd = os.open(sys.argv[1] + '/' + name, os.O_RDONLY)\n"
    "    while part := os.read(fd, 1 << 16): body.update(part)\n"
    "    os.close(fd)\n"
    "print(body.hexdigest())\n"
)


@contextmanager
def stopped(mount: Mount) -> Iterator[None]:
    """Every process of a mount, by SIGSTOP."""
    pids = [pid for pid in mount.status()["pids"].values() if pid]
    assert len(pids) >= 3, pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_a_second_epoch_is_read_while_every_process_is_stopped(
    mounts: Make, emulators: Callable[..., Running], tmp_path: Path
) -> None:
    """ "With `io=cache` the page cache does, once a file was read." """
    folder = tmp_path / "data" / "Sets" / "images"
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"{number:03}.jpg").write_bytes(random.Random(number).randbytes(30_000))
    emulator = emulators(data=tmp_path / "data", rate_limit=0)
    mount = mounts(emulator, "organization=org", "ttl=1h", "prefetch=off").mounted()
    images = mount.mountpoint / "org" / "Sets" / "images"
    for _ in range(2):      # a directory is cached by the kernel when it is read for the second time
        finished(reader(READ_ALL, images), 60)
    with stopped(mount):
        assert finished(reader(READ_ALL, images)) == finished(reader(READ_ALL, folder))


@pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: passthrough takes root (CAP_SYS_ADMIN)")
def test_a_whole_archive_is_joined_and_read_while_every_process_is_stopped(
    mounts: Make, emulators: Callable[..., Running], tmp_path: Path
) -> None:
    """ "A whole archive is passed through as well, from the open after the one that finds it whole." """
    folder = tmp_path / "data" / "Sets"
    (folder / "images").mkdir(parents=True)
    (folder / "exports").mkdir()
    (folder / "images" / "one.jpg").write_bytes(b"one")
    body = random.Random(4).randbytes(9 << 20)
    with zipfile.ZipFile(folder / "exports" / "all.zip", "w") as archive:
        archive.writestr(MEMBER, body)
    truth = (folder / "exports" / "all.zip").read_bytes()
    emulator = emulators(data=tmp_path / "data", rate_limit=0)
    mount = mounts(emulator, "io=passthrough", "prefetch=off", "organization=org").mounted()
    path = mount.mountpoint / "org" / "Sets" / "exports" / "all.zip"
    with path.open("rb") as file:
        assert file.read(100) == truth[:100], "not whole yet: read the ordinary way, by blocks"
    assert pictofs("warm", path).returncode == 0

    def one_file() -> bool:
        with path.open("rb"):
            sizes = [each.stat().st_size for each in (mount.cache / "store").rglob("*.*.*")]
        return sizes.count(len(truth)) == 1 and len([size for size in sizes if size >= 1 << 18]) == 1

    eventually(one_file, 30, "the blocks are one file")
    with holding(path, 1) as held, stopped(mount):
        assert held("hash") == digest(truth)
    assert (path.with_suffix("") / MEMBER).read_bytes() == body, "what is in it is read from the same file"
    emulator.reset_counters()
    assert mount.umount().returncode == 0
    mount.mounted("io=cache")
    assert path.read_bytes() == truth
    assert emulator.counters()["storage"]["requests"] == 0
