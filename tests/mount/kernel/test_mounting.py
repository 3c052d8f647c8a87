"""Mounting, by root and by the helper, and what is said when it cannot be."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from pictofs.drivers import mountinfo
from pictofs.drivers.kernel import mounting
from pictofs.errors import MountpointUnusable, NotMounted
from tests.benchmarks.served import Served
from tests.mount.kernel.conftest import Serve
from tests.mount.kernel.programs import ROOT
from tests.mounting import connection_of, run, tree_of

pytestmark = pytest.mark.mount


def test_mountinfo_shows_type_and_source_verbatim(folder: Path, serve: Serve) -> None:
    for helper in (None, True):
        source = f"Åcme, Inc. \\ 2/{helper}"
        served = serve(folder, source=source, helper=helper)
        found = mountinfo.at(str(served.mountpoint))
        assert found is not None
        assert (found.kind, found.source) == ("fuse.pictofs", source)
        assert mounting.connection(str(served.mountpoint)) == int(connection_of(served.mountpoint) or -1)
        assert tree_of(served.mountpoint / "a") == tree_of(folder / "a")


def test_a_mount_is_dead_when_its_daemon_is_gone_and_only_then(folder: Path, tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    assert not mounting.dead(str(mountpoint))
    mountpoint.mkdir()
    fd = mounting.mount(str(mountpoint))
    os.close(fd)
    try:
        assert mounting.dead(str(mountpoint))
        with pytest.raises(MountpointUnusable, match="fusermount3 -uz"):
            mounting.mount(str(mountpoint / "below"))
    finally:
        mounting.unmount(str(mountpoint), lazy=True)
    assert not mounting.dead(str(mountpoint))
    with Served(folder, mountpoint):
        assert not mounting.dead(str(mountpoint))


def test_what_cannot_be_mounted_upon_is_said_with_a_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MountpointUnusable, match="create the folder"):
        mounting.mount(str(tmp_path / "none"))
    with pytest.raises(MountpointUnusable, match="name a folder"):
        mounting.mount(str(tmp_path / "file"))
    with pytest.raises(NotMounted):
        mounting.unmount(str(tmp_path))
    with pytest.raises(NotMounted):
        mounting.connection(str(tmp_path))


def test_a_busy_mount_stays_until_it_is_left(folder: Path, serve: Serve) -> None:
    served = serve(folder)
    with (served.mountpoint / "60000.bin").open("rb") as file:
        with pytest.raises(NotMounted, match="lazily"):
            mounting.unmount(str(served.mountpoint))
        mounting.unmount(str(served.mountpoint), lazy=True)
        assert mountinfo.at(str(served.mountpoint)) is None
        assert file.read() == (folder / "60000.bin").read_bytes()
    assert served.child is not None
    assert served.child.wait(20) == 0


def test_stop_unmounts_and_serving_ends_with_the_last_user(folder: Path, serve: Serve) -> None:
    served = serve(folder)
    assert served.child is not None
    with (served.mountpoint / "60000.bin").open("rb") as file:
        for _ in range(2):
            served.ask("stop")
        assert mountinfo.at(str(served.mountpoint)) is None
        assert file.read() == (folder / "60000.bin").read_bytes()
    assert served.child.wait(20) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user in a mount namespace of its own")
@pytest.mark.skipif(not shutil.which("setpriv") or not shutil.which("unshare"), reason="no util-linux")
def test_an_ordinary_user_mounts_with_the_helper() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        _mount_as_nobody(Path(place))


def _mount_as_nobody(place: Path) -> None:
    # pytest's folders are closed to other users
    os.chmod(place, 0o755)
    mountpoint, node = place / "mnt", place / "fuse"
    mountpoint.mkdir()
    os.chown(mountpoint, 65534, 65534)
    code = (
        "import os, sys\n"
        "from pictofs.drivers import mountinfo\n"
        "from pictofs.drivers.kernel import mounting\n"
        "from pictofs.drivers.kernel.handshake import negotiate\n"
        "fd = mounting.mount(sys.argv[1])\n"
        "print(negotiate(fd, io='passthrough').io)\n"
        "print(mountinfo.at(sys.argv[1]).kind, mountinfo.at(sys.argv[1]).source)\n"
        "print(mounting.read_ahead(sys.argv[1], 1024))\n"
        "mounting.unmount(sys.argv[1], lazy=True)\n"
    )
    script = (
        f"mknod {node} c 10 229 && chmod 666 {node} && mount --bind {node} /dev/fuse && "
        f'exec setpriv --reuid 65534 --regid 65534 --clear-groups {sys.executable} -c "$0" {mountpoint}'
    )
    said = run("unshare", "--mount", "sh", "-c", script, code, cwd=ROOT, check=False)
    if "Permission denied" in said.stderr and sys.executable in said.stderr:
        pytest.skip("NOT TESTED: the interpreter is closed to other users")
    assert said.stdout.splitlines() == ["cache", "fuse.pictofs pictofs", "False"], said.stderr
