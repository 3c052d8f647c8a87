"""What a cache directory lies on, and how much of it a cache may take.

The catalog and the store are SQLite files in WAL mode with readers in several processes: shared memory and
locks that network file systems do not keep. FUSE is refused too: its daemon may be anybody's, even ours.
"""

from __future__ import annotations

import os
import re

from pictofs.errors import CacheUnusable

# fmt: off
NETWORK = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs",
))
# fmt: on
_LOCAL_FUSE = ("fuseblk",)  # NTFS and exFAT on a disk of this machine
_ESCAPE = re.compile(r"\\([0-7]{3})")
_MOST_BYTES = 50 << 30


def kind_of_file_system(path: str, mountinfo: str | None = None) -> str:
    """The type of the file system below `path`, as /proc/self/mountinfo names it; "" where that is not told.

    `path` need not exist yet: the nearest folder above it counts. `mountinfo` is that table, for tests.
    """
    if mountinfo is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
                mountinfo = table.read()
        except OSError:
            return ""  # no Linux: nothing to go by, and nothing to refuse
        path = os.path.realpath(path)
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # Of two mounts on one point the later line is the one on top.
        if _holds(point, path) and len(point) >= longest:
            kind, longest = after.split(" ")[0], len(point)
    return kind


def is_network(kind: str) -> bool:
    """Whether a file system of that type keeps neither shared memory nor locks between processes for us."""
    return kind in NETWORK or (kind.partition(".")[0] in ("fuse", "fusectl") and kind not in _LOCAL_FUSE)


def refuse_network(path: str, mountinfo: str | None = None) -> None:
    """CacheUnusable, naming `cache_dir`, when `path` is not on a local file system."""
    kind = kind_of_file_system(path, mountinfo)
    if is_network(kind):
        raise CacheUnusable(
            f"cache_dir {path} is on {kind}, which SQLite cannot share between processes: "
            "point cache_dir to a local file system"
        )


def default_limits(path: str) -> tuple[int, int]:
    """(cache_size, min_free) in bytes for a cache at `path`: min(20 % of the file system, 50 GiB), 5 %."""
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    status = os.statvfs(existing)
    total_bytes = status.f_blocks * status.f_frsize
    return min(total_bytes // 5, _MOST_BYTES), total_bytes // 20


def _holds(point: str, path: str) -> bool:
    return path == point or point == "/" or path.startswith(point + "/")
