"""io=passthrough of archives: many blocks are joined into one file, which the kernel reads by itself."""

from __future__ import annotations

import os
import random
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.emulator.launch import Running
from tests.mount.conftest import Make, eventually, pictofs
from tests.mount.kernel.programs import digest, holding

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.getuid() != 0, reason="NOT TESTED: passthrough takes root (CAP_SYS_ADMIN)"),
]
MEMBER = "images/one.jpg"


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
    pids = [pid for pid in mount.status()["pids"].values() if pid]
    with holding(path, 1) as held:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert held("hash") == digest(truth)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
    assert (path.with_suffix("") / MEMBER).read_bytes() == body, "what is in it is read from the same file"
    emulator.reset_counters()
    assert mount.umount().returncode == 0
    mount.mounted("io=cache")
    assert path.read_bytes() == truth
    assert emulator.counters()["storage"]["requests"] == 0
