"""pictofs as mount(8) knows it: the real mount, umount and findmnt, /etc/fstab, no HOME and no PATH."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pictofs.drivers import mountinfo
from pictofs.emulator.launch import Running
from pictofs.mount import helper, installation
from tests.mount.conftest import eventually
from tests.system.machine import Machine

pytestmark = pytest.mark.mount
MOUNT, UMOUNT, FINDMNT = "/usr/bin/mount", "/usr/bin/umount", "/usr/bin/findmnt"
CACHE = "cache_dir=/var/cache/pictofs"


def images(machine: Machine, mountpoint: Path) -> list[str]:
    return machine.ok("/usr/bin/find", mountpoint, "-path", "*/images/*", "-type", "f").splitlines()


def test_mount_and_umount_with_the_systems_own_tools(administered: Machine, mountpoint: Path) -> None:
    administered.ok(MOUNT, "-t", "pictofs", "lab", mountpoint)
    (mounted,) = administered.mounts()
    assert (mounted.source, mounted.kind) == ("lab", "fuse.pictofs")
    assert {"ro", "nosuid", "nodev"} <= set(mounted.options.split(","))
    said = administered.ok(FINDMNT, "--json", "-o", "SOURCE,TARGET,FSTYPE", "-t", "fuse.pictofs")
    assert json.loads(said)["filesystems"] == [
        {"source": "lab", "target": str(mountpoint), "fstype": "fuse.pictofs"}
    ]
    files = images(administered, mountpoint)
    assert len(files) == 24
    size, free, source = administered.ok("/usr/bin/df", "--output=size,avail,source", mountpoint).split()[-3:]
    assert int(size) > 0
    assert (free, source) == ("0", "lab")
    assert administered.ok("/usr/bin/stat", "-c", "%s", files[0]).strip() != "0"
    administered.ok(UMOUNT, mountpoint)
    assert administered.mounts() == []
    assert administered.settled() == []


def test_fstab_is_mounted_once_however_often_it_is_asked_for(
    administered: Machine, mountpoint: Path, tmp_path: Path
) -> None:
    other, above = tmp_path / "other", tmp_path / "written"
    other.mkdir()
    above.mkdir()
    words = "defaults,ro,_netdev,nofail,noatime,x-systemd.automount,x-systemd.idle-timeout=60,comment=data"
    administered.write(
        "/etc/fstab",
        f"lab {mountpoint} pictofs {words},ttl=5m,{CACHE} 0 0\n"
        f"lab {tmp_path}/by\\040hand pictofs noauto,user 0 0\n"
        f"pictofs {other} pictofs ro,overlay={above},api_key_file=/etc/pictofs/key,{CACHE} 0 0\n",
    )
    (tmp_path / "by hand").mkdir()
    environ = {"PICTOGRAPH_BASE_URL": base_url(administered)}
    for _ in range(2):
        administered.ok(MOUNT, "-a", environ=environ)
        shown = sorted((m.source, m.mountpoint, m.kind) for m in administered.mounts())
        assert shown == [("lab", str(mountpoint), "fuse.pictofs"), ("pictofs", str(other), "overlay")]
    assert len(images(administered, mountpoint)) == 24
    administered.ok(MOUNT, tmp_path / "by hand")
    assert len(administered.mounts()) == 3
    for where in (mountpoint, other, tmp_path / "by hand"):
        administered.ok(UMOUNT, where)
    administered.write("/etc/fstab", "")
    assert administered.settled() == []


def base_url(machine: Machine) -> str:
    return machine.read("/etc/pictofs/config.toml").split('base_url = "')[1].split('"')[0]


def test_a_source_that_is_also_a_folder_where_one_stands_is_still_the_source(
    administered: Machine, mountpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "lab").mkdir()  # mount(8) hands on its path
    administered.ok("/bin/sh", "-c", f"cd {tmp_path} && {MOUNT} -t pictofs lab {mountpoint}")
    assert [m.source for m in administered.mounts()] == ["lab"]
    administered.ok(UMOUNT, mountpoint)


def test_what_mount8_hands_on_is_understood(administered: Machine, mountpoint: Path) -> None:
    verbose = administered.run(MOUNT, "-v", "-n", "-s", "-t", "pictofs", "-o", f"rw,noexec,nosuch=1,{CACHE}",
                               "lab", mountpoint)  # fmt: skip
    assert verbose.returncode == 0, verbose.stderr
    assert "always read-only" in verbose.stderr
    assert f"lab mounted on {mountpoint}" in verbose.stderr
    (mounted,) = administered.mounts()
    assert {"ro", "noexec"} <= set(mounted.options.split(","))
    administered.ok(UMOUNT, mountpoint)
    administered.ok(MOUNT, "-f", "-t", "pictofs", "lab", mountpoint)
    assert administered.mounts() == []


def test_another_mount_namespace_is_mounted_in(administered: Machine, mountpoint: Path) -> None:
    said = administered.run(
        "/usr/bin/unshare", "-m", "--propagation", "private", "/bin/sh", "-c",
        f"{MOUNT} -N {administered.holder} -t pictofs lab {mountpoint} && "
        f"! grep fuse.pictofs /proc/self/mountinfo",
    )  # fmt: skip
    assert said.returncode == 0, (said.stdout, said.stderr)
    assert [m.mountpoint for m in administered.mounts()] == [str(mountpoint)]
    administered.ok(UMOUNT, mountpoint)


@pytest.mark.parametrize(
    ("source", "options", "code", "line"),
    [
        ("lab", "nosuch=1", helper.USAGE, "there is no option 'nosuch'"),
        ("lab", "remount", helper.USAGE, "cannot be remounted"),
        ("lab", "api_key_file=/etc/hostname", helper.USAGE, "chmod 600"),
        ("nobody", "", helper.USAGE, "no API key"),
        ("lab", "base_url=http://127.0.0.1:9,timeout=1,cache_dir=/var/tmp/none", helper.FAILED, "127.0.0.1"),
    ],
)
def test_exit_codes_are_those_of_mount8(
    administered: Machine, mountpoint: Path, source: str, options: str, code: int, line: str
) -> None:
    ran = administered.run(MOUNT, "-t", "pictofs", *(["-o", options] if options else []), source, mountpoint)
    assert (ran.returncode, line in ran.stderr) == (code, True), ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_mountpoint_that_is_mounted_or_missing_is_mount8s_failure(
    administered: Machine, mountpoint: Path
) -> None:
    administered.ok(MOUNT, "-t", "pictofs", "lab", mountpoint)
    program = "/sbin/mount.pictofs"
    again = administered.run(program, "lab", mountpoint)
    assert (again.returncode, "mounted by pictofs already" in again.stderr) == (helper.FAILED, True)
    administered.ok(UMOUNT, mountpoint)
    missing = administered.run(program, "lab", f"{mountpoint}/none")
    assert (missing.returncode, "mkdir -p" in missing.stderr) == (helper.FAILED, True)
    assert administered.run(program).returncode == helper.USAGE
    assert "EXTERNAL" not in administered.ok(program, "--help")


def test_interrupted_is_mount8s_eight(administered: Machine, mountpoint: Path, service: Running) -> None:
    service.fault("api", "stall")
    words = ["/sbin/mount.pictofs", "lab", str(mountpoint), "-o", "cache_dir=/var/tmp/slow"]
    mounting = subprocess.Popen(
        ["/usr/bin/nsenter", "-t", str(administered.holder), "-m", *words],
        env={}, cwd="/", stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        eventually(lambda: service.faults()[0]["struck"], 30, "a service that is waited for")
        mounting.terminate()
        _, said = mounting.communicate(timeout=30)
    finally:
        service.clear_faults()
        mounting.kill()
        mounting.wait()
    assert (mounting.returncode, said) == (helper.INTERRUPTED, "mount.pictofs: interrupted\n")
    assert administered.mounts() == []
    assert administered.settled() == []


def test_a_dead_mount_of_our_own_is_cleared_and_only_that(administered: Machine, mountpoint: Path) -> None:
    administered.ok(MOUNT, "-t", "pictofs", "lab", mountpoint)
    processes = administered.processes()
    for number in (signal.SIGSTOP, signal.SIGKILL):  # else one that sees another end unmounts in order
        for pid in processes:
            os.kill(pid, number)
    assert administered.settled() == []
    eventually(  # what is asked while the last of them closes its descriptors is aborted instead
        lambda: "not connected" in administered.run("/usr/bin/ls", mountpoint).stderr, 10, "a dead mount"
    )
    administered.ok(MOUNT, "-t", "pictofs", "lab", mountpoint)
    assert len(administered.mounts()) == 1
    assert len(images(administered, mountpoint)) == 24
    administered.ok(UMOUNT, mountpoint)
    administered.ok(MOUNT, "-t", "tmpfs", "other", mountpoint)
    administered.ok("/usr/bin/touch", mountpoint / "a")
    assert administered.run(MOUNT, "-t", "pictofs", "lab", mountpoint).returncode == helper.FAILED
    administered.ok(UMOUNT, mountpoint)


def test_a_mount_inherits_no_descriptor_of_who_mounts(administered: Machine, mountpoint: Path) -> None:
    # a pipe that stays open would have its reader wait for as long as something is mounted
    pipe = mountpoint.with_name("pipe")
    administered.ok("/bin/sh", "-c", f"mkfifo {pipe}; exec 7<>{pipe}; {MOUNT} -t pictofs lab {mountpoint}")
    processes = administered.processes()
    assert len(processes) == 4  # supervisor, serving, fetching, carter
    for pid in processes:
        held = [os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
        assert str(pipe) not in held
        assert held.count("/dev/null") >= 2
    administered.ok(UMOUNT, mountpoint)


def test_installing_again_changes_nothing_and_foreign_files_are_left_alone(administered: Machine) -> None:
    again = administered.pictofs("install")
    assert again.returncode == 0
    assert {line.split(maxsplit=1)[1] for line in again.stdout.splitlines()} == {"is there"}
    text = administered.read("/sbin/mount.pictofs")
    assert installation.MARK in text
    gone = administered.pictofs("uninstall")
    assert gone.returncode == 0
    assert "/sbin/mount.pictofs removed" in gone.stdout
    assert "is not there" in administered.pictofs("uninstall").stdout
    administered.write("/sbin/mount.pictofs", "#!/bin/sh\nexit 3\n", 0o755)
    for command in ("install", "uninstall"):
        ran = administered.pictofs(command)
        assert ran.returncode == 1
        assert "/sbin/mount.pictofs is not" in ran.stderr
        assert administered.read("/sbin/mount.pictofs") == "#!/bin/sh\nexit 3\n"
    administered.ok("/usr/bin/rm", "/sbin/mount.pictofs")
    assert administered.pictofs("install").returncode == 0
    assert administered.read("/sbin/mount.pictofs") == text


def test_man_and_shells_find_what_was_installed_by_themselves(administered: Machine) -> None:
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"}
    for page in ("pictofs.1", "pictofs.toml.5", "mount.pictofs.8"):
        name, _, number = page.rpartition(".")
        found = administered.ok("/usr/bin/man", "-w", number, name, environ=environ)
        assert found.endswith(f"/man/man{number}/{page}\n")  # /usr/local/man is a link in Debian
    for place in (
        "bash-completion/completions/pictofs",
        "zsh/site-functions/_pictofs",
        "fish/vendor_completions.d/pictofs.fish",
    ):
        assert "_PICTOFS_COMPLETE=" in administered.read(f"/usr/local/share/{place}")
    bash = "source /usr/local/share/bash-completion/completions/pictofs; complete -p pictofs"
    assert "_pictofs_completion" in administered.ok("/usr/bin/bash", "-c", bash)


def test_packages_are_staged_below_a_root(tmp_path: Path, administered: Machine) -> None:
    ran = administered.pictofs("install", "--root", tmp_path)
    assert ran.returncode == 0, ran.stderr
    staged = tmp_path / "sbin/mount.pictofs"
    assert staged.stat().st_mode & 0o777 == 0o755
    assert sys.executable in staged.read_text()
    assert administered.pictofs("uninstall", "--root", tmp_path).returncode == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_mounts_are_found_by_the_commands_whoever_mounted_them(
    administered: Machine, mountpoint: Path
) -> None:
    administered.ok(MOUNT, "-t", "pictofs", "lab", mountpoint)
    said = json.loads(administered.pictofs("status", "--json").stdout)
    assert (said["mountpoint"], said["source"]) == (str(mountpoint), "lab")
    assert mountinfo.parse(b"") == []
    assert administered.pictofs("umount", mountpoint).returncode == 0
