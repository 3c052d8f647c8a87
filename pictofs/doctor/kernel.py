"""FUSE on this machine: the device, who may mount, and what the kernel can do, tried by a short mount."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pictofs.config import Settings
from pictofs.doctor.finding import Finding, bad, good, poor
from pictofs.drivers.kernel import handshake, mounting
from pictofs.drivers.kernel.handshake import Negotiated
from pictofs.drivers.kernel.wire import Init
from pictofs.errors import NotMounted, PictofsError

FUSE_CONF = "/etc/fuse.conf"
_SYSCTL = "/proc/sys/fs/fuse"
_CONTAINER = "in a container pass `--device /dev/fuse --cap-add SYS_ADMIN`"


@dataclass(frozen=True, slots=True)
class Fuse:
    """What was found. `refused` is why the trial mount was not to be had; then there is no `negotiated`."""

    release: str
    root: bool
    device_error: str                  # "" when /dev/fuse opens
    helper: str                        # path of fusermount3, "" where there is none
    helper_setuid: bool
    user_allow_other: bool
    request_timeout_s: int             # 0: the kernel never aborts a slow mount
    negotiated: Negotiated | None
    refused: str = ""


def look(cache_dir: str) -> Fuse:
    """Gathers it; mounts an empty folder of its own for an instant."""
    helper = shutil.which(mounting.HELPER) or ""
    negotiated, refused = None, ""
    try:
        negotiated = _try(cache_dir if os.path.isdir(cache_dir) else "")
    except PictofsError as error:
        refused = str(error)
    except OSError as error:
        refused = error.strerror or str(error)
    return Fuse(
        release=os.uname().release,
        root=os.geteuid() == 0,
        device_error=_device_error(),
        helper=helper,
        helper_setuid=bool(helper) and bool(os.stat(helper).st_mode & stat.S_ISUID),
        user_allow_other=allows_other(_text(FUSE_CONF)),
        request_timeout_s=request_timeout_s(
            _number(f"{_SYSCTL}/default_request_timeout"), _number(f"{_SYSCTL}/max_request_timeout")
        ),
        negotiated=negotiated,
        refused=refused,
    )


def allows_other(fuse_conf: str) -> bool:
    """Whether /etc/fuse.conf lets users say allow_other."""
    return any(line.strip() == "user_allow_other" for line in fuse_conf.splitlines())


def request_timeout_s(default: int, most: int) -> int:
    """After how long the kernel ends a mount whose daemon is silent: its default, within its maximum."""
    return min(default or most, most) if most else default


def checks(fuse: Fuse, settings: Settings) -> Iterator[Finding]:
    """All of it, in the order in which one would mend it."""
    yield device(fuse)
    yield helper(fuse)
    yield trial(fuse)
    if fuse.negotiated is not None:
        yield features(fuse.negotiated, fuse.release)
        yield passthrough(fuse.negotiated, settings.io)
    yield timeout(fuse.request_timeout_s, settings.timeout_s)
    yield allow_other(fuse, settings.allow_other)


def device(fuse: Fuse) -> Finding:
    """/dev/fuse."""
    if not fuse.device_error:
        return good("/dev/fuse", "it opens")
    if fuse.negotiated is not None:
        return good("/dev/fuse", f"it is {mounting.HELPER}'s to open ({fuse.device_error} for this user)")
    return bad("/dev/fuse", fuse.device_error, f"`modprobe fuse`; {_CONTAINER}")


def helper(fuse: Fuse) -> Finding:
    """fusermount3, which mounts for everybody but root."""
    if fuse.root:
        return good("fusermount3", "root mounts without it")
    if not fuse.helper:
        return bad("fusermount3", "it is not installed", "install the package fuse3")
    if not fuse.helper_setuid:
        return poor("fusermount3", f"{fuse.helper} is not setuid root", "reinstall the package fuse3")
    return good("fusermount3", fuse.helper)


def trial(fuse: Fuse) -> Finding:
    """A mount for an instant."""
    if fuse.negotiated is None:
        mend = "mend that; until then `pictofs download` and the other commands work without a mount"
        return bad("mounting", f"a trial mount was refused: {fuse.refused}", mend)
    return good("mounting", "a trial mount came and went")


def features(negotiated: Negotiated, release: str) -> Finding:
    """What of the protocol pictofs makes use of."""
    spoken = f"Linux {release} speaks FUSE 7.{negotiated.minor}"
    lacking = [
        what
        for there, what in (
            (negotiated.flags & Init.NO_OPEN_SUPPORT, "opening without asking (7.23)"),
            (negotiated.flags & Init.NO_OPENDIR_SUPPORT, "listing without asking (7.29)"),
            (negotiated.resend, "asking again (7.40): a killed serving process is a remount, not a pause"),
        )
        if not there
    ]
    if lacking:
        return poor("kernel", f"{spoken}; it lacks {', '.join(lacking)}", "use Linux 6.9 or later")
    return good("kernel", f"{spoken}, with everything that pictofs makes use of")


def passthrough(negotiated: Negotiated, io: str) -> Finding:
    """`io=passthrough`: only a flaw where it is asked for."""
    if not negotiated.note:
        return good("passthrough", "io=passthrough is to be had")
    if io == "passthrough":
        return poor("passthrough", negotiated.note, "mount as root on Linux 6.9, cache_dir on a plain disk")
    return good("passthrough", f"not used (io=cache); {negotiated.note.partition(';')[0]}")


def timeout(request_timeout_s: int, timeout_s: float) -> Finding:
    """fs.fuse.default_request_timeout: the kernel may end the whole mount for one slow request."""
    if not request_timeout_s:
        return good("request timeout", "the kernel sets none (fs.fuse.default_request_timeout=0)")
    said = f"the kernel ends a mount that leaves a request unanswered for {request_timeout_s} s"
    if request_timeout_s > 2 * timeout_s:
        return good("request timeout", f"{said}; timeout={timeout_s:g}s ends a wait before")
    mend = f"set timeout={max(1, request_timeout_s // 3)}s, or raise sysctl fs.fuse.default_request_timeout"
    return bad("request timeout", f"{said}, and timeout={timeout_s:g}s lets requests wait as long", mend)


def allow_other(fuse: Fuse, wanted: bool) -> Finding:
    """`user_allow_other` in /etc/fuse.conf."""
    if fuse.root:
        return good("allow_other", "root may say it")
    if fuse.user_allow_other:
        return good("allow_other", f"{FUSE_CONF} lets users say it")
    if wanted:
        mend = f"have root add the line `user_allow_other` to {FUSE_CONF}, or leave allow_other out"
        return bad("allow_other", f"it is set, and {FUSE_CONF} does not let users say it", mend)
    return good("allow_other", f"not set; {FUSE_CONF} would not let users say it")


def _try(cache_dir: str) -> Negotiated:
    if sys.platform != "linux":
        raise NotMounted("only Linux is tried; driver=fusepy may mount here")
    with tempfile.TemporaryDirectory(prefix="pictofs-doctor-") as folder:
        folder = os.path.realpath(folder)
        fd = mounting.mount(folder, source="pictofs-doctor")
        try:
            return handshake.negotiate(fd, io="passthrough", cache_dir=cache_dir)
        finally:
            try:
                mounting.unmount(folder, lazy=True)
            finally:
                os.close(fd)


def _device_error() -> str:
    try:
        os.close(os.open(mounting.DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0
