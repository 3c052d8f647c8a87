"""The folder that is mounted on: fit for it, who keeps it busy, and how it is let go.

Nothing here looks into a mounted pictofs: a process that serves a mount and stats it waits for itself.
"""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pictofs.drivers import mountinfo
from pictofs.errors import MountpointUnusable, NotMounted

_log = logging.getLogger(__name__)

_UNMOUNT_LIMIT_S = 30.0
_CONTROL = ".pictofs/status.json"  # its size is asked for at every look


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has something open below a mountpoint."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} ({self.pid})"


class Busy(NotMounted):
    """It is mounted, but something below is in use."""


def absolute(path: str) -> str:
    """The mountpoint as mountinfo writes it: links of its parents resolved, itself not looked at when it is
    ours.
    """
    # realpath lstats every component; the last one may be a dead mount, which lstat answers with ENOTCONN and
    # realpath then leaves alone. A live mount answers its root's attributes at once or the kernel has them.
    parent, name = os.path.split(os.path.abspath(path))
    resolved = os.path.join(os.path.realpath(parent), name) if name else parent
    if mountinfo.at(resolved) is None and os.path.islink(resolved):
        return os.path.realpath(resolved)
    return resolved


def check(path: str) -> str:
    """The absolute mountpoint, fit to be mounted on; MountpointUnusable says why not, and the mend.

    A dead mount of our own ("Transport endpoint is not connected") is cleared first, and only that.
    """
    mountpoint = absolute(path)
    if not clear_dead(mountpoint) and is_ours(mountpoint):
        raise MountpointUnusable(f"{path} is mounted by pictofs already; `pictofs umount {path}` first")
    try:
        status = os.stat(mountpoint)
    except FileNotFoundError:
        raise MountpointUnusable(f"{path} does not exist: mkdir -p {path}") from None
    except OSError as error:
        raise MountpointUnusable(
            f"{path} cannot be looked at: {error.strerror}; name another folder"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise MountpointUnusable(f"{path} is no folder; name an empty one")
    try:
        with os.scandir(mountpoint) as entries:
            occupied = next(entries, None) is not None
    except OSError as error:
        raise MountpointUnusable(
            f"{path} cannot be listed: {error.strerror}; name a folder of yours"
        ) from error
    if occupied:
        raise MountpointUnusable(f"{path} is not empty; name an empty folder")
    if os.geteuid() != 0 and not os.access(mountpoint, os.W_OK):
        raise MountpointUnusable(
            f"{path} is not yours to mount on (no write permission); name a folder of yours"
        )
    return mountpoint


def clear_dead(mountpoint: str) -> bool:
    """Take away a mount of ours whose processes are gone, and nothing else; whether there was one."""
    from pictofs.drivers.kernel import mounting  # with all that serves a mount, which `status` has no use for

    above = mountinfo.at(mountpoint)
    if above is None or not above.ours:
        return False
    if not mounting.dead(mountpoint, "" if above.kind == mountinfo.TYPE else _CONTROL):
        return False
    unmount(mountpoint, lazy=True)
    return True


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Unmount; `lazy` lets it vanish now and end when its last file is closed. Busy, or NotMounted with the
    reason.
    """
    try:
        if sys.platform == "linux":
            from pictofs.drivers.kernel import mounting

            mounting.unmount(mountpoint, lazy=lazy)
        else:
            _unmount_elsewhere(mountpoint, lazy)
    except NotMounted as error:
        above = mountinfo.at(mountpoint)
        if above is not None and above.ours and "busy" in str(error).lower():
            raise Busy(str(error)) from error
        raise


def is_ours(mountpoint: str) -> bool:
    """Whether a mount of pictofs lies on top there."""
    if sys.platform != "linux":
        return os.path.ismount(mountpoint)
    above = mountinfo.at(mountpoint)
    return above is not None and above.ours


def let_go(mountpoint: str, *, lazy: bool) -> bool:
    """Unmount; whether it is unmounted. Anything but a busy mount that was not asked to vanish is logged."""
    try:
        unmount(mountpoint, lazy=lazy)
    except Busy:
        return False
    except NotMounted as error:
        _log.warning("%s", error)
        return False
    return True


def _unmount_elsewhere(mountpoint: str, lazy: bool) -> None:
    ran = subprocess.run(
        ["umount", *(["-f"] if lazy else []), "--", mountpoint],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=_UNMOUNT_LIMIT_S, check=False,
    )  # fmt: skip
    if ran.returncode:
        said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NotMounted(f"{mountpoint} could not be unmounted: {said[-1] if said else 'no reason given'}")


def holders(mountpoint: str, limit: int = 5) -> list[Holder]:
    """Processes with a file, working directory or root below the mountpoint, as far as /proc shows them."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and _holds(process, mountpoint):
            try:
                command = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                continue
            found.append(Holder(int(process.name), command))
            if len(found) >= limit:
                break
    return found


def _holds(process: Path, mountpoint: str) -> bool:
    links = [process / "cwd", process / "root"]
    try:
        links += list((process / "fd").iterdir())
    except OSError:
        pass  # another user's, or it ended
    for link in links:
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target == mountpoint or target.startswith(mountpoint + "/"):
            return True
    try:
        return f" {mountpoint}/".encode() in (process / "maps").read_bytes()
    except OSError:
        return False


def busy_because(mountpoint: str) -> Busy:
    """The error that names who holds it, where that can be seen."""
    who = holders(mountpoint)
    named = "used by " + ", ".join(map(str, who)) if who else "something is open below it"
    return Busy(f"{mountpoint} is busy: {named}; end that first, or `pictofs umount --lazy`")
