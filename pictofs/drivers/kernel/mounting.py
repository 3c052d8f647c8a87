"""Mounting and unmounting: mount(2) as root, `fusermount3` for everybody else; what is told apart by errno.

Nothing here looks at a mounted file system from inside: a daemon that stats its own mount waits for itself.
Facts about a mount come from mountinfo; only `dead` asks the mount, and lets another program do it.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import shutil
import socket
import stat
import subprocess
from typing import NoReturn

from pictofs.drivers import mountinfo
from pictofs.drivers.mountinfo import TYPE
from pictofs.errors import MountpointUnusable, NoFuse, NotMounted

DEVICE = "/dev/fuse"
HELPER = "fusermount3"
MAX_READ_BYTES = 1 << 20           # 256 pages: the most one request carries

# sys/mount.h
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MNT_FORCE, _MNT_DETACH, _UMOUNT_NOFOLLOW = 1, 2, 8

_SILENT = f"{HELPER} does not answer, some file system on the way there hangs"
_CONNECTIONS = "/sys/fs/fuse/connections"
_HELPER_LIMIT_S = 20.0             # it makes two system calls
_PROBE_S = 2.0                     # a live daemon answers statfs in microseconds, a busy one within this


def mount(
    mountpoint: str,
    *,
    source: str = "pictofs",
    allow_other: bool = False,
    default_permissions: bool = True,
    noexec: bool = False,
    max_read_bytes: int = MAX_READ_BYTES,
    helper: bool | None = None,
) -> int:
    """Mount read-only at `mountpoint` (absolute, without links) and return the descriptor of /dev/fuse.

    `source` is what mountinfo says, verbatim. `helper`: by fusermount3; None: where mount(2) is not
    permitted. Nobody answers the mount until `handshake.negotiate` has been called on the descriptor.
    NoFuse where this machine cannot, MountpointUnusable where the folder cannot.
    """
    options = [f"max_read={max_read_bytes}"]
    options += ["allow_other"] * allow_other + ["default_permissions"] * default_permissions
    if helper is None:
        helper = os.geteuid() != 0
    if not helper:
        try:
            return _mount_directly(mountpoint, source, options, noexec)
        except PermissionError:
            # root without CAP_SYS_ADMIN, as in a container: the helper may still be allowed, or says why not
            pass
    return _mount_by_helper(mountpoint, source, [*options, *["noexec"] * noexec])


def _mount_directly(mountpoint: str, source: str, options: list[str], noexec: bool) -> int:
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NoFuse(f"no {DEVICE} here; `modprobe fuse`, or pass the device in") from None
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise NoFuse(f"the kernel has no FUSE behind {DEVICE}; `modprobe fuse`") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PermissionError(error.errno, error.strerror) from error
        raise NoFuse(f"{DEVICE}: {error.strerror}") from error
    try:
        said = [f"fd={fd}", f"rootmode={stat.S_IFDIR:o}"]
        said += [f"user_id={os.geteuid()}", f"group_id={os.getegid()}"]
        libc = ctypes.CDLL(None, use_errno=True)
        # read-only also spares requests: the kernel then never forgets attributes for the sake of atime
        flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV | (_MS_NOEXEC if noexec else 0))
        data = ",".join(said + options).encode()
        if libc.mount(os.fsencode(source), os.fsencode(mountpoint), TYPE.encode(), flags, data):
            _refused(mountpoint, ctypes.get_errno())
    except BaseException:
        os.close(fd)
        raise
    return fd


def _refused(mountpoint: str, number: int) -> NoReturn:
    why = os.strerror(number)
    if number == errno.EPERM:
        raise PermissionError(number, why)
    if number == errno.ENODEV:
        raise NoFuse("the kernel has no FUSE; load it with `modprobe fuse`")
    mends = {
        errno.ENOENT: "create the folder first",
        errno.ENOTDIR: "name a folder",
        errno.EACCES: "name a folder that you may enter",
        errno.ENOTCONN: f"a mount there has lost its daemon; `{HELPER} -uz {mountpoint}`",
        errno.EBUSY: "something is mounted there already; unmount it or name another folder",
        errno.ELOOP: "name the folder without symbolic links",
    }
    raise MountpointUnusable(f"{mountpoint}: {why}; {mends.get(number, 'name another folder')}")


def _mount_by_helper(mountpoint: str, source: str, options: list[str]) -> int:
    program = _helper()
    try:
        # the helper mounts upon files too, and below a mount it is another user, with other reasons than ours
        is_folder = stat.S_ISDIR(os.stat(mountpoint).st_mode)
    except OSError as error:
        _refused(mountpoint, error.errno or errno.EIO)
    if not is_folder:
        _refused(mountpoint, errno.ENOTDIR)
    words = ["ro", "nosuid", "nodev", "subtype=pictofs", f"fsname={_escaped(source)}", *options]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours:
        with theirs:
            try:
                done = subprocess.run(
                    [program, "-o", ",".join(words), "--", mountpoint],
                    env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno()), "LC_ALL": "C"},
                    pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, check=False, timeout=_HELPER_LIMIT_S,
                )
            except subprocess.TimeoutExpired:
                raise MountpointUnusable(f"{mountpoint}: {_SILENT}; name another folder") from None
        if done.returncode:
            _helper_refused(mountpoint, done.stderr.decode(errors="replace"))
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        _, control, _, _ = ours.recvmsg(1, room, socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return array.array("i", data)[0]
    raise NoFuse(f"{program} mounted {mountpoint} and handed no descriptor over; reinstall the fuse3 package")


def _helper_refused(mountpoint: str, said: str) -> None:
    line = next((line for line in said.splitlines() if line), "it gave no reason")
    line = line.removeprefix(f"{HELPER}: ")
    if "user_allow_other" in line:
        raise NoFuse(f"allow_other needs the line `user_allow_other` in /etc/fuse.conf ({line})")
    if mountpoint in line or "mountpoint" in line or "mount point" in line:
        raise MountpointUnusable(f"{line}; name a folder of yours that exists and is not mounted upon")
    if DEVICE in line or "not found" in line:
        raise NoFuse(f"{line}; `modprobe fuse`, or let users open {DEVICE}")
    raise NoFuse(f"{line}; in a container pass `--device {DEVICE} --cap-add SYS_ADMIN`")


def _helper() -> str:
    found = shutil.which(HELPER)
    if found is None:
        raise NoFuse(f"mounting as an ordinary user needs {HELPER}; install the package fuse3")
    return found


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace(",", "\\,")


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Unmount; `lazy` detaches now and ends when the last user has left. NotMounted: not there, or busy."""
    if os.geteuid() == 0:
        _unmount_directly(mountpoint, (_MNT_DETACH if lazy else 0) | _UMOUNT_NOFOLLOW)
        return
    try:
        done = subprocess.run(
            [_helper(), "-uz" if lazy else "-u", "--", mountpoint], env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            timeout=_HELPER_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise NotMounted(f"{mountpoint}: {_SILENT}; unmount lazily") from None
    if done.returncode:
        line = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["refused"]
        raise NotMounted(f"{line[0].removeprefix(HELPER + ': ')}; end what uses it, or unmount lazily")


def _unmount_directly(mountpoint: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mountpoint), ctypes.c_int(flags)):
        number = ctypes.get_errno()
        busy = number == errno.EBUSY
        mend = "end what uses it, or unmount lazily" if busy else "nothing of ours is mounted there"
        raise NotMounted(f"{mountpoint}: {os.strerror(number)}; {mend}")


def device(mountpoint: str) -> str:
    """major:minor of a mount of ours, as /sys/class/bdi names it; NotMounted for anything else."""
    found = mountinfo.at(mountpoint)
    if found is None or found.kind != TYPE:
        raise NotMounted(f"{mountpoint}: nothing of pictofs is mounted there")
    return found.device


def connection(mountpoint: str) -> int:
    """The number of the connection in /sys/fs/fuse/connections."""
    return int(device(mountpoint).partition(":")[2])


def abort(mountpoint: str) -> None:
    """End the connection: whoever waits gets an error, the daemon's read ENODEV. It stays mounted, dead.

    Where fusectl is not mounted, a forced unmount aborts just so, and unmounts what nobody uses.
    """
    number = connection(mountpoint)
    try:
        with open(f"{_CONNECTIONS}/{number}/abort", "w") as control:
            control.write("1")
    except OSError:
        _forced(mountpoint)


def _forced(mountpoint: str) -> None:
    try:
        _unmount_directly(mountpoint, _MNT_FORCE | _UMOUNT_NOFOLLOW)
    except NotMounted:
        if os.geteuid() != 0:
            raise
        # busy: aborted nevertheless


def dead(mountpoint: str, ask: str = "") -> bool:
    """Is a mount of ours there whose daemon has gone ("Transport endpoint is not connected")?

    Asked by another program, which may wait in our place when the daemon is there and silent. `ask`: a file
    below whose attributes are never kept, for an overlay; its statfs tells of its upper layer only.
    """
    found = mountinfo.at(mountpoint)
    if found is None or (found.kind != TYPE and not ask):
        return False
    words = ["stat", "-c", "%s", f"{mountpoint}/{ask}"] if ask else ["stat", "-f", "-c", "%T", mountpoint]
    probe = subprocess.Popen(
        words, env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    try:
        _, said = probe.communicate(timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        # it cannot be killed while the daemon holds its request, so nobody waits for it
        probe.kill()
        if probe.stderr is not None:
            probe.stderr.close()
        probe.returncode = -9
        return False
    # an overlay says ESTALE of what it can no longer look up below
    return any(os.strerror(number).encode() in said for number in (errno.ENOTCONN, errno.ESTALE))


def read_ahead(mountpoint: str, size_kib: int) -> bool:
    """Let the kernel read ahead that far (128 KiB unless told); False where only root may say so."""
    try:
        with open(f"/sys/class/bdi/{device(mountpoint)}/read_ahead_kb", "w") as control:
            control.write(str(size_kib))
    except (OSError, NotMounted):
        return False
    return True
