"""A machine within this one that a systemd has booted: its own processes, mounts, groups, /etc and /run.

Of the machine around it only the programs are used. No unit of it is known inside (SYSTEMD_UNIT_PATH), so
nothing of it is started or cleaned up: no tmpfiles, no sysctl, no udev.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.system import machine
from tests.system.machine import Machine

BOOT_LIMIT_S = 30.0
END_LIMIT_S = 20.0
TARGETS = "basic sysinit shutdown umount local-fs remote-fs-pre remote-fs network-online nss-lookup"
UNITS = "/etc/systemd/system"
_START = """
set -e
layers=$1 systemd=$2
mount -t tmpfs layers "$layers"
mkdir "$layers/groups"
mount -t cgroup2 groups "$layers/groups"
mkdir "$layers/groups/$3"
echo $$ > "$layers/groups/$3/cgroup.procs"
exec unshare --cgroup --uts --ipc --pid --fork --kill-child --mount --propagation private --mount-proc \
    sh -c "$4" "$layers" "$systemd"
"""
_BOOT = """
set -e
findmnt -rno TARGET -t fuse.pictofs | while read -r copy; do umount -l "$copy"; done
for folder in /etc /usr/sbin /usr/local /var /mnt /srv; do
    mkdir -p "$0/upper$folder" "$0/work$folder"
    mount -t overlay layers -o "lowerdir=$folder,upperdir=$0/upper$folder,workdir=$0/work$folder" "$folder"
done
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 groups /sys/fs/cgroup
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs -o mode=755 run /run
mkdir -p /etc/systemd /usr/local/lib/systemd "$0/units" "$0/generators" /run/user
mount -t tmpfs -o mode=755 units /etc/systemd
mount -t tmpfs -o mode=755 units /usr/local/lib/systemd
mkdir /etc/systemd/system
: > /etc/fstab
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nAudit=no\\n' > /etc/systemd/journald.conf
for target in TARGETS; do
    printf '[Unit]\\nDescription=%s\\nDefaultDependencies=no\\n' "$target" > "$0/units/$target.target"
done
home=$(dirname "$1")
for unit in systemd-journald.service systemd-journald.socket; do
    cp "$home/system/$unit" "$0/units/"
done
ln -s "$home/system-generators/systemd-fstab-generator" "$0/generators/"
mount --make-rshared /
found="$0/units:/etc/systemd/system:/run/systemd/system:/run/systemd/generator:/usr/local/lib/systemd/system"
exec env -i container=test SYSTEMD_UNIT_PATH="$found" SYSTEMD_GENERATOR_PATH="$0/generators" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "$1" --unit=basic.target --log-target=console --show-status=no --log-level=notice
""".replace("TARGETS", TARGETS)


def program() -> str | None:
    """systemd itself, where it is installed."""
    return next((p for p in ("/usr/lib/systemd/systemd", "/lib/systemd/systemd") if os.path.exists(p)), None)


def cannot() -> str:
    """Why there can be none here; empty where there can."""
    if program() is None or not shutil.which("systemctl"):
        return "systemd is not installed"
    if why := machine.cannot():
        return why
    group = f"/mnt/pictofs-probe-{os.getpid()}"
    words = f"mount -t cgroup2 groups /mnt && mkdir {group} && rmdir {group}"
    ran = subprocess.run(
        ["unshare", "--mount", "--cgroup", "--uts", "--ipc", "--pid", "--fork", "sh", "-c", words],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return ran.stderr.strip()


class Booted(Machine):
    """Runs commands in it, with systemd's own environment."""

    namespaces = ("-m", "-p", "-C", "-u", "-i")

    def open(self, folder: str) -> None:
        """A folder of the machine around it, which inside everybody may pass, until it is unmounted."""
        upper, work = (f"{self.folder}/layers/{name}{folder}" for name in ("open", "opening"))
        layer = f"lowerdir={folder},upperdir={upper},workdir={work}"
        self.ok("/usr/bin/mkdir", "-p", upper, work)
        self.ok("/usr/bin/mount", "-t", "overlay", "layers", "-o", layer, folder)
        self.ok("/usr/bin/chmod", "a+x", folder)

    @contextmanager
    def spawned(self, *words: str | Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on, with pipes to it; gone afterwards."""
        command = ["/usr/bin/nsenter", "-t", str(self.holder), *self.namespaces, *map(str, words)]
        with subprocess.Popen(
            command, env=dict(environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def systemctl(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """One call of it."""
        return self.run("/usr/bin/systemctl", "--no-pager", *words)

    def start(self, *units: str) -> None:
        """Starts them, or shows why they cannot be."""
        ran = self.systemctl("start", *units)
        assert ran.returncode == 0, (ran.stderr, self.journal())

    def property(self, unit: str, name: str) -> str:
        """What systemd knows of a unit."""
        return self.ok("/usr/bin/systemctl", "show", "-P", name, unit).strip()

    def journal(self, *words: str) -> str:
        """Its lines, without times and names."""
        return self.ok("/usr/bin/journalctl", "--no-pager", "-q", "-o", "cat", *words)

    def outside(self, pid: str | int) -> int:
        """The process that has this number inside, as we see it."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    status = Path(f"/proc/{name}/status").read_text()
                    if os.readlink(f"/proc/{name}/ns/pid") != os.readlink(f"/proc/{self.holder}/ns/pid"):
                        continue
                except OSError:
                    continue
                numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
                if numbers[-1] == str(pid):
                    return int(name)
        raise ProcessLookupError(pid)

    def processes(self) -> list[int]:
        """Those of pictofs, by their command lines."""
        found = []
        for name in os.listdir(f"/proc/{self.holder}/root/proc"):
            if name.isdigit():
                try:
                    text = Path(f"/proc/{self.holder}/root/proc/{name}/cmdline").read_bytes()
                except OSError:
                    continue
                if b"\0pictofs" in text:
                    found.append(int(name))
        return found


@contextmanager
def booted(folder: Path) -> Iterator[Booted]:
    """One that is gone afterwards, with all that was mounted and started in it."""
    layers, group = folder / "layers", f"pictofs-test-{os.getpid()}-{folder.name}"
    layers.mkdir()
    systemd = program()
    assert systemd is not None
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START,
         "sh", str(layers), systemd, group, _BOOT],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        made = Booted(_first_child(holder.pid), folder)
        _await_running(made, holder)
        made.start("systemd-journald.service")
        yield made
        made.systemctl("stop", "pictofs@*.service")
        for mounted in made.mounts():
            made.run("/usr/bin/umount", "-l", mounted.mountpoint)
        left = made.settled()
        assert not left, f"left behind: {left}"
    finally:
        holder.kill()  # and with it, by --kill-child, the first process, and with that all of them
        holder.communicate(timeout=END_LIMIT_S)
        _remove(group)


def _first_child(pid: int) -> int:
    deadline_s = time.monotonic() + BOOT_LIMIT_S
    while time.monotonic() < deadline_s:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and b"systemd" in Path(f"/proc/{children[0]}/cmdline").read_bytes().split(b"\0")[0]:
            return int(children[0])
        time.sleep(0.02)
    raise AssertionError("systemd was not started")


def _await_running(made: Booted, holder: subprocess.Popen[str]) -> None:
    deadline_s = time.monotonic() + BOOT_LIMIT_S
    said = ""
    while time.monotonic() < deadline_s and holder.poll() is None:
        said = made.systemctl("is-system-running").stdout.strip()
        if said in ("running", "degraded"):
            return
        time.sleep(0.05)
    holder.kill()
    raise AssertionError(f"systemd has not booted ({said}): {holder.communicate()[0]}")


def _remove(group: str) -> None:
    words = f"mount -t cgroup2 g /mnt && find /mnt/{group} -depth -type d -exec rmdir {{}} ';'"
    deadline_s = time.monotonic() + END_LIMIT_S
    while True:  # what was killed is just ending
        ran = subprocess.run(
            ["unshare", "--mount", "sh", "-c", words], capture_output=True, text=True, check=False
        )
        if not ran.stderr or time.monotonic() > deadline_s:
            assert not ran.stderr, ran.stderr
            return
        time.sleep(0.05)
