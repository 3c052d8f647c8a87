"""Where things lie on this machine: configuration, cache, log, and the records of what is mounted.

Every function takes the environment as an argument; HOME may be missing (fstab, systemd), then the user
database tells. Nothing here creates a folder.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from pictofs.drivers import mountinfo
from pictofs.errors import CacheUnusable

# SQLite's locks and flock are not to be trusted on these, and a slow cache is none.
_NETWORK = """
    nfs nfs4 cifs smb smb2 smb3 smbfs 9p afs ceph glusterfs lustre gpfs beegfs orangefs ocfs2 gfs2 coda ncpfs
    davfs virtiofs fuse.sshfs fuse.s3fs fuse.glusterfs fuse.ceph fuse.rclone fuse.gcsfuse fuse.mountpoint-s3
    fuse.pictofs
"""
NETWORK_FILE_SYSTEMS = frozenset(_NETWORK.split())


def home(environ: Mapping[str, str]) -> Path:
    """The user's home, also where HOME is not set."""
    named = environ.get("HOME", "")
    return Path(named if os.path.isabs(named) else pwd.getpwuid(os.getuid()).pw_dir)


def _xdg(environ: Mapping[str, str], name: str, fallback: str) -> Path:
    named = environ.get(name, "")
    return Path(named) if os.path.isabs(named) else home(environ) / fallback


def configuration_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that may hold settings, the stronger first."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "pictofs/config.toml", Path(
        "/etc/pictofs/config.toml"
    )


def cache_dir(environ: Mapping[str, str], uid: int) -> Path:
    """The default cache directory."""
    return Path("/var/cache/pictofs") if uid == 0 else _xdg(environ, "XDG_CACHE_HOME", ".cache") / "pictofs"


def log_dir(environ: Mapping[str, str], uid: int) -> Path:
    """Where a mount in the background logs."""
    return (
        Path("/var/log/pictofs") if uid == 0 else _xdg(environ, "XDG_STATE_HOME", ".local/state") / "pictofs"
    )


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where programs look for what a user has installed for oneself."""
    return _xdg(environ, "XDG_DATA_HOME", ".local/share")


def run_dir(environ: Mapping[str, str], uid: int) -> Path:
    """Where the records of live mounts are: gone after a restart of the machine."""
    if uid == 0:
        return Path("/run/pictofs")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):
        return Path(runtime) / "pictofs"
    # Not $TMPDIR: `status` must look where `mount` wrote, whatever each was told.
    return Path("/tmp") / f"pictofs-{uid}"


def name_of(mountpoint: str) -> str:
    """A short file name for a mountpoint: its last component to read, a hash to be sure."""
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:12]
    last = "".join(c if c.isalnum() or c in "-_." else "_" for c in os.path.basename(mountpoint))[:40]
    return f"{last or 'root'}-{digest}"


def own_directory(path: Path, what: str) -> None:
    """Make `path` a folder of this user with mode 0700; CacheUnusable where it cannot be one."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
        if not path.is_dir() or (path.is_symlink() and path.stat().st_uid != os.getuid()):
            raise CacheUnusable(f"{what} {path} is no folder of yours; name another")
        if not path.is_symlink() and status.st_uid != os.getuid():
            raise CacheUnusable(f"{what} {path} belongs to another user (uid {status.st_uid}); name another")
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise CacheUnusable(f"{what} {path} cannot be used: {error.strerror}; name another") from error


def check_cache_dir(path: Path, mountpoint: str) -> None:
    """Create the cache directory, and refuse what cannot be one: a network file system, a place inside the
    mount.
    """
    if os.path.realpath(path) == mountpoint or os.path.realpath(path).startswith(
        mountpoint.rstrip("/") + "/"
    ):
        raise CacheUnusable(f"cache_dir {path} lies inside the mountpoint; name another with -o cache_dir=")
    below = mountinfo.containing(os.path.realpath(path))
    if below is not None and below.kind in NETWORK_FILE_SYSTEMS:
        raise CacheUnusable(
            f"cache_dir {path} is on a network file system ({below.kind}); "
            f"name a local folder with -o cache_dir="
        )
    own_directory(path, "cache_dir")
