"""What is mounted, from /proc/self/mountinfo; nothing here touches a mounted file system."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

TYPE = "fuse.pictofs"
BENEATH = ".beneath"  # how the folder ends that a mount with overlay= has had its FUSE below
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounted:
    """One line of mountinfo. `device` is `major:minor`, `options` are the mount's, `layers` what the file
    system says of itself.
    """

    mount_id: int
    device: str
    mountpoint: str
    kind: str
    source: str
    options: str
    layers: str = ""

    @property
    def ours(self) -> bool:
        """Whether this is a mount of pictofs, with or without an overlay above it."""
        if self.kind == "overlay":
            lower = next((o for o in self.layers.split(",") if o.startswith("lowerdir=")), "")
            return lower.endswith(BENEATH) and ":" not in lower
        return self.kind == TYPE


def parse(text: bytes) -> list[Mounted]:
    """The lines of a mountinfo file, in its order: a later one lies above an earlier."""
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(b" - ")
        head, tail = left.split(b" "), right.split(b" ")
        if not separator or len(head) < 6 or len(tail) < 2:
            continue
        # An empty source is written as two spaces, which leaves an empty field.
        found.append(
            Mounted(
                int(head[0]),
                head[2].decode(),
                _plain(head[4]),
                _plain(tail[0]),
                _plain(tail[1]),
                head[5].decode(),
                _plain(tail[2]) if len(tail) > 2 else "",
            )
        )
    return found


def _plain(field: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda m: bytes([int(m[1], 8)]), field))


def table() -> list[Mounted]:
    """Everything this process sees mounted; empty where the system has no mountinfo."""
    try:
        return parse(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return []


def in_memory(descriptor: int) -> bool:
    """Whether an open file lies in memory, so that reading it waits for nothing."""
    number = os.fstat(descriptor).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    return any(m.device == device and m.kind in ("tmpfs", "ramfs") for m in table())


def at(mountpoint: str) -> Mounted | None:
    """What lies on top at exactly this path; None where nothing is mounted."""
    return next((m for m in reversed(table()) if m.mountpoint == mountpoint), None)


def ours() -> list[Mounted]:
    """Every mount of pictofs, also of other users."""
    return [m for m in table() if m.ours]


def containing(path: str) -> Mounted | None:
    """The mount that an absolute path without links lies in, whether the path exists or not."""
    best: Mounted | None = None
    for mounted in table():
        root = mounted.mountpoint.rstrip("/") + "/"
        inside = (path + "/").startswith(root)
        if inside and (best is None or len(mounted.mountpoint) >= len(best.mountpoint)):
            best = mounted
    return best
