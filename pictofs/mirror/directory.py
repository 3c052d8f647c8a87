"""The cache directory as the fetching process owns it, and who that process is.

    fetch.lock   held by flock for the life of the process; the kernel lets go of it however the process ends
    fetch.sock   where it listens
    catalog.sqlite, store/, tmp/
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass

from pictofs.errors import CacheUnusable

LOCK = "fetch.lock"
SOCKET = "fetch.sock"
CATALOG = "catalog.sqlite"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Election:
    """The lock of a cache directory, held until `release`."""

    descriptor: int

    def release(self) -> None:
        """Lets another process be the fetching one."""
        os.close(self.descriptor)


def prepare(cache_dir: str) -> None:
    """Makes the directory, of mode 0700 and ours. CacheUnusable when it cannot be."""
    try:
        os.makedirs(cache_dir, 0o700, exist_ok=True)
        status = os.stat(cache_dir)
        if status.st_uid != os.geteuid():
            raise CacheUnusable(
                f"cache_dir {cache_dir} belongs to user {status.st_uid}, and this is user {os.geteuid()}: "
                "give this mount a cache_dir of its own"
            )
        if status.st_mode & 0o077:
            os.chmod(cache_dir, 0o700)
    except OSError as error:
        raise CacheUnusable(f"cache_dir {cache_dir} cannot be used: {error.strerror}") from error


def elect(cache_dir: str) -> Election | None:
    """Becomes the fetching process of a cache directory; None when another one is."""
    try:
        descriptor = os.open(
            os.path.join(cache_dir, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise CacheUnusable(f"cache_dir {cache_dir} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        why = f"cache_dir {cache_dir} knows no locks ({error.strerror}): use a local file system"
        raise CacheUnusable(why) from error
    return Election(descriptor)


def boot_id() -> str:
    """What tells one boot of this machine from another; where the kernel has no such id, nothing lasts."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return f"process {os.getpid()} {os.urandom(8).hex()}"
