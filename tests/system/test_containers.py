"""What docs/deploy.md builds on: a mount that one container makes is seen by the machine and by others.

The containers are namespaces as a container runtime makes them: pictofs is pid 1 of one, with a folder of the
machine in it that is shared (`rshared`, `Bidirectional`); a reader has the same folder as a slave (`rslave`,
`HostToContainer`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pictofs.drivers import mountinfo
from tests.mount.conftest import eventually
from tests.system.machine import Machine

pytestmark = pytest.mark.mount


@contextmanager
def container(
    machine: Machine, propagation: str, *command: str | Path, output: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in namespaces of its own; killed at the end if it still runs."""
    words = [
        "/usr/bin/nsenter", "-t", str(machine.holder), "-m", "/usr/bin/unshare", "--mount", "--propagation",
        propagation, "--pid", "--fork", "--kill-child", "--mount-proc", *map(str, command),
    ]  # fmt: skip
    with (
        output.open("wb") as log,
        subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/") as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def first(process: subprocess.Popen[bytes]) -> int:
    """The pid, as we see it, of a container's pid 1."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return int(eventually(lambda: children.read_text().split(), 20, "the container runs")[0])


def mounted(pid: int, where: Path) -> bool:
    """Whether something of pictofs is mounted there in that process' namespace."""
    table = mountinfo.parse(Path(f"/proc/{pid}/mountinfo").read_bytes())
    return any(each.ours and each.mountpoint == str(where) for each in table)


def test_a_mount_of_one_container_is_read_in_another_and_its_end_is_seen_by_all(
    administered: Machine, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    mountpoint = shared / "mnt"
    mountpoint.mkdir(parents=True)
    administered.ok("/usr/bin/mount", "--bind", shared, shared)
    try:
        administered.ok("/usr/bin/mount", "--make-shared", shared)
        options = f"cache_dir={tmp_path}/cache,allow_other"
        mount = [sys.executable, "-m", "pictofs", "mount", "-f", "-o", options, "lab", mountpoint]
        with (
            container(
                administered, "slave", "/usr/bin/sleep", "infinity", output=tmp_path / "reader.log"
            ) as reading,
            container(administered, "unchanged", *mount, output=tmp_path / "mount.log") as mounting,
        ):
            reader, pictofs = first(reading), first(mounting)
            eventually(lambda: mounted(reader, mountpoint), 40, "the mount is seen by the reader")
            assert mounted(administered.holder, mountpoint), "and by the machine"
            pictures = sorted(Path(f"/proc/{reader}/root{mountpoint}").glob("*/*/images/**/*.jpg"))
            assert len(pictures) == 24
            assert pictures[0].read_bytes().startswith(b"\xff\xd8")
            os.kill(pictofs, signal.SIGTERM)
            assert mounting.wait(40) == 0, (tmp_path / "mount.log").read_text()
            for pid in (reader, administered.holder):
                assert not mounted(pid, mountpoint)
    finally:
        administered.ok("/usr/bin/umount", "-l", shared)
