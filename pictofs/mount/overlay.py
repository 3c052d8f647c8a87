"""overlay=DIR: a kernel overlayfs above the mount, so that tools may write beside their input.

    mountpoint        overlay, source as ever          what is written lies in DIR/upper
       └─ beneath     fuse.pictofs, read-only          mounted in the run directory, then detached

Detached, the FUSE mount lives as long as the overlay does: there is one mount to see and one to unmount, and
whoever ends it ends both. The overlay remembers what its lower layer was: a name that changed below is ESTALE
through it, and one that appeared where a look had found none stays away, until it is remounted. So it is,
after changes, at most once in REMOUNT_S. That passes over the names of files that are open, so it is done
again and again, ever more rarely, for those that have been closed since.

Mounting and remounting look into the mount, which may keep them waiting: a child does it, and the supervisor
goes on.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from pictofs.config import Settings
from pictofs.drivers import mountinfo
from pictofs.errors import NoFuse, NotMounted, PictofsError, UsageError
from pictofs.mount import mountpoint, places
from pictofs.mount.events import Events

_log = logging.getLogger(__name__)

REMOUNT_S = 1.0  # between two remounts: each drops what the kernel remembers of all names
RAREST_S = 300.0  # between two when nothing has changed since
LIMIT_S = 20.0  # a child that takes longer is killed
KILLED_LIMIT_S = 1.0  # and then waited for so long

# sys/mount.h
_MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 2, 4, 32
_FLAGS = _MS_NOSUID | _MS_NODEV


def prepare(settings: Settings, where: str) -> None:
    """Check DIR and make `upper/` and `work/` in it; UsageError says what is wrong with it.

    Without allow_other nobody but the mounter may pass the mountpoint: overlayfs asks the lower layer with
    the mounter's rights, so FUSE itself would not stop the others.
    """
    folder = settings.overlay
    assert folder is not None, "only where there is one"
    if os.geteuid() != 0:
        raise UsageError("overlay= takes root: only root may mount an overlayfs; leave it out")
    if settings.driver == "fusepy":
        raise UsageError("overlay= takes driver=kernel; leave one of them out")
    if "\\" in folder:
        raise UsageError(f"overlay={folder}: overlayfs takes no backslash; name another folder")
    real = os.path.realpath(folder)
    if _within(real, where) or _within(where, real):
        raise UsageError(f"overlay={folder}: it and the mountpoint must not lie within each other")
    upper, work = _layers(folder)
    for mounted in mountinfo.table():
        if mounted.kind == "overlay" and f"upperdir={_escaped(upper)}," in mounted.layers + ",":
            raise UsageError(f"overlay={folder} serves {mounted.mountpoint} already; name another folder")
    try:
        for path in (upper, work):
            os.makedirs(path, mode=0o700, exist_ok=True)
        os.chmod(upper, 0o755 if settings.allow_other else 0o700)
        unchanged = -1
        os.chown(
            upper,
            unchanged if settings.uid is None else settings.uid,
            unchanged if settings.gid is None else settings.gid,
        )
    except OSError as error:
        raise UsageError(f"overlay={folder}: {error.strerror}; name a folder that may be written") from error


def _layers(folder: str) -> tuple[str, str]:
    return os.path.join(folder, "upper"), os.path.join(folder, "work")


def _within(path: str, folder: str) -> bool:
    return (path + "/").startswith(folder.rstrip("/") + "/")


def _escaped(path: str) -> str:
    """As overlayfs reads a path, and as mountinfo shows it."""
    return path.replace(",", "\\,")


class Overlay:
    """The overlay of one mount, at `where` above the FUSE mount at `beneath`."""

    def __init__(self, settings: Settings, where: str, beneath: str, events: Events) -> None:
        self._settings = settings
        self._where = where
        self._beneath = beneath
        self._events = events
        self._child = 0
        self._pipe = -1
        self._left: list[int] = []  # killed, and not ended yet
        self._due = False
        self._again_s = REMOUNT_S
        self._remounted_s = -REMOUNT_S
        self.mounted = False

    def make_room(self) -> None:
        """The folder for the FUSE mount, and nothing of a former one in it."""
        places.own_directory(Path(self._beneath), "the folder beneath the overlay")
        if mountinfo.at(self._beneath) is not None:
            mountpoint.let_go(self._beneath, lazy=True)

    def mount(self, done: Callable[[PictofsError | None], None]) -> None:
        """Lay it over the FUSE mount, which must be answered meanwhile; then `done`, with what went wrong."""
        folder = self._settings.overlay
        assert folder is not None, "only where there is one"
        upper, work = (_escaped(path) for path in _layers(folder))
        layers = f"lowerdir={self._beneath},upperdir={upper},workdir={work}"

        def ended(number: int) -> None:
            if number == 0:
                self._detach()
                self.mounted = True
            done(_refusal(number, folder) if number else None)

        self._aside(lambda: _mount(self._settings.source, self._where, "overlay", _FLAGS, layers), ended)

    def changed(self) -> None:
        """Something below is not what it was: remount soon."""
        self._again_s = REMOUNT_S
        if not self._due:
            self._due = True
            wait_s = max(0.0, self._remounted_s + REMOUNT_S - time.monotonic())
            self._events.after("remount", wait_s, self._remount)

    def rest(self) -> None:
        """No remount from here on, until something changes."""
        self._due = False
        self._events.cancel(("remount",))

    def settle(self) -> None:
        """End what is under way."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._collect()

    def close(self) -> None:
        """End what is under way, and remove the folder beneath."""
        self._events.cancel(("remount", "overlay"))
        self.settle()
        self._detach()

    def _detach(self) -> None:
        if mountinfo.at(self._beneath) is not None:
            mountpoint.let_go(self._beneath, lazy=True)
        try:
            os.rmdir(self._beneath)
        except OSError as error:
            if error.errno != errno.ENOENT:
                _log.warning("%s: %s", self._beneath, error.strerror)

    def _remount(self) -> None:
        if self._child:
            self._events.after("remount", REMOUNT_S, self._remount)
            return
        self._due, self._remounted_s = False, time.monotonic()
        self._events.after("remount", self._again_s, self._remount)
        self._again_s = min(2 * self._again_s, RAREST_S)

        def ended(number: int) -> None:
            if number:
                _log.warning("the overlay could not be remounted: %s", os.strerror(number))
            else:
                _log.debug("the overlay is remounted")

        def again() -> int:
            # What lies there may be another's by now, and would lose its own flags.
            if not mountpoint.is_ours(self._where):
                return errno.EINVAL
            return _mount(None, self._where, None, _FLAGS | _MS_REMOUNT, None)

        self._aside(again, ended)

    # a call in a child: it may wait for the mount, and a supervisor that waits can mend nothing

    def _aside(self, act: Callable[[], int], ended: Callable[[int], None]) -> None:
        receive, send = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(receive)
            os.close(send)
            raise
        if pid == 0:
            number = errno.EIO
            try:
                signal.set_wakeup_fd(-1)  # it is the supervisor's
                number = act()
            finally:
                os._exit(number)
        os.close(send)
        self._child, self._pipe = pid, receive
        self._events.on_readable(receive, lambda: ended(self._collect()))
        self._events.after("overlay", LIMIT_S, lambda: os.kill(pid, signal.SIGKILL))

    def _collect(self) -> int:
        """The errno that the child ended with; one that a kill does not end at once is left to itself."""
        self._events.cancel(("overlay",))
        self._events.forget(self._pipe)
        os.close(self._pipe)
        child, self._child, self._pipe = self._child, 0, -1
        self._left = [pid for pid in self._left if not os.waitpid(pid, os.WNOHANG)[0]]
        deadline_s = time.monotonic() + KILLED_LIMIT_S
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else errno.ETIMEDOUT
            if time.monotonic() > deadline_s:
                self._left.append(child)
                return errno.ETIMEDOUT
            time.sleep(0.002)


def _mount(source: str | None, where: str, kind: str | None, flags: int, data: str | None) -> int:
    """mount(2); the errno, 0 when it is done."""
    words = [os.fsencode(word) if word is not None else None for word in (source, where, kind)]
    libc = ctypes.CDLL(None, use_errno=True)
    said = os.fsencode(data) if data is not None else None
    return ctypes.get_errno() if libc.mount(*words, ctypes.c_ulong(flags), said) else 0


def _refusal(number: int, folder: str) -> PictofsError:
    why = os.strerror(number)
    if number == errno.ENODEV:
        return NoFuse("overlay=: the kernel has no overlayfs; `modprobe overlay`, or leave overlay= out")
    if number == errno.EPERM:
        return NoFuse("overlay=: mounting an overlayfs takes CAP_SYS_ADMIN; leave overlay= out")
    if number == errno.ETIMEDOUT:
        return NotMounted(f"overlay={folder}: the kernel did not mount it within {LIMIT_S:g} s")
    return UsageError(
        f"overlay={folder}: the kernel refuses it ({why}); name a folder on ext4, xfs or tmpfs"
    )
