"""A machine within this one, for what only an administrator does: a mount namespace of its own, where /etc,
/usr/sbin, /usr/local, /var and /run may be written to and nothing of it stays.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pictofs.drivers import mountinfo

COMMAND_LIMIT_S = 60.0
END_LIMIT_S = 15.0
LAYERED = ("/etc", "/usr/sbin", "/usr/local", "/var")
_START = """
set -e
findmnt -rno TARGET -t fuse.pictofs | while read -r copy; do umount -l "$copy"; done
mount -t tmpfs layers "$0"
for folder in "$@"; do
    mkdir -p "$0/upper$folder" "$0/work$folder"
    mount -t overlay layers -o "lowerdir=$folder,upperdir=$0/upper$folder,workdir=$0/work$folder" "$folder"
done
mount -t tmpfs run /run
: > /etc/fstab
echo up
exec sleep infinity
"""


def cannot() -> str:
    """Why there can be none here; empty where there can."""
    if os.geteuid() != 0:
        return "it takes root to make a mount namespace with file systems of its own"
    missing = [name for name in ("unshare", "nsenter", "mount", "findmnt") if not shutil.which(name)]
    if missing:
        return f"{', '.join(missing)} is not installed (util-linux)"
    with_folder = ["unshare", "-m", "sh", "-c", "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w && "
                   "mount -t overlay o -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w /etc"]  # fmt: skip
    ran = subprocess.run(with_folder, capture_output=True, text=True, timeout=20, check=False)
    return ran.stderr.strip()


class Machine:
    """Runs commands in it. `folder` is a folder of both worlds."""

    namespaces: tuple[str, ...] = ("-m",)

    def __init__(self, holder: int, folder: Path) -> None:
        self.holder = holder
        self.folder = folder

    def run(
        self, *command: str | Path, environ: Mapping[str, str] | None = None, limit_s: float = COMMAND_LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """One command to its end; without `environ` with none at all, as at boot."""
        words = ["/usr/bin/nsenter", "-t", str(self.holder), *self.namespaces, *map(str, command)]
        return subprocess.run(
            words, env=dict(environ or {}), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=limit_s, check=False, cwd="/",
        )  # fmt: skip

    def ok(self, *command: str | Path, **more: Mapping[str, str]) -> str:
        """Its output; it must succeed."""
        ran = self.run(*command, **more)
        assert ran.returncode == 0, (command, ran.returncode, ran.stdout, ran.stderr)
        return ran.stdout

    def pictofs(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A command line of pictofs."""
        return self.run(sys.executable, "-m", "pictofs", *arguments, environ=dict(os.environ))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of the machine."""
        where = Path(f"/proc/{self.holder}/root{path}")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text, encoding="utf-8")
        where.chmod(mode)

    def read(self, path: str) -> str:
        """A file of the machine."""
        return Path(f"/proc/{self.holder}/root{path}").read_text(encoding="utf-8", errors="replace")

    def mounts(self) -> list[mountinfo.Mounted]:
        """Those of pictofs, as mountinfo has them."""
        return [m for m in mountinfo.parse(Path(f"/proc/{self.holder}/mountinfo").read_bytes()) if m.ours]

    def processes(self) -> list[int]:
        """Everything that runs in it, its holder aside."""
        ours = os.readlink(f"/proc/{self.holder}/ns/mnt")
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != self.holder:
                try:
                    if os.readlink(f"/proc/{name}/ns/mnt") == ours:
                        found.append(int(name))
                except OSError:
                    continue
        return found

    def settled(self) -> list[int]:
        """`processes`, after those that are just ending have had their time."""
        deadline_s = time.monotonic() + END_LIMIT_S
        while (left := self.processes()) and time.monotonic() < deadline_s:
            time.sleep(0.02)
        return left


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """One that is gone afterwards, with all that was mounted and started in it."""
    layers = folder / "layers"
    layers.mkdir()
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, str(layers), *LAYERED],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        assert holder.stdout.readline() == "up\n", holder.stderr.read()
        made = Machine(holder.pid, folder)
        yield made
        for mounted in made.mounts():
            made.run("umount", "-l", mounted.mountpoint)
        left = made.settled()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"left behind: {left}"
    finally:
        holder.kill()
        holder.communicate(timeout=10)
