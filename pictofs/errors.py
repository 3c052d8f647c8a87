"""The exception tree: every failure that crosses a room is one of these.

    PictofsError                    exit code   errno
    ├── UsageError                  2           EINVAL   an option, a path or an argument is wrong
    ├── ServiceError                                     the API said no, or said nothing
    │   ├── KeyRefused              3           EACCES   401, or 403 on everything
    │   ├── Forbidden               1           EACCES   403 on one thing
    │   ├── NotFound                1           ENOENT   404
    │   ├── Conflict                1           EEXIST   409
    │   ├── Unprocessable           1           EINVAL   400, 422
    │   ├── PlanLimit               1           EACCES   402
    │   ├── RateLimited             1           EAGAIN   429, or the hour's budget is spent
    │   ├── ServerFault             1           EIO      5xx, 408, or a body that is not what was promised
    │   └── Unreachable             4           EIO      no answer: network, DNS, TLS, time out
    ├── TransferError               1           EIO      bytes from the storage host
    │   ├── UrlExpired                                   400, 401, 403 from storage: get a new URL
    │   ├── ObjectGone                          ESTALE   404 or 410 from storage
    │   ├── ObjectChanged                       ESTALE   412, or another generation than was asked for
    │   └── Damaged                                      length or checksum is wrong
    ├── ArchiveError                1           EIO      an export's archive cannot be opened
    │   └── ArchiveTooLarge                     EFBIG    or has more members than the catalog takes
    ├── Stale                       1           ESTALE   an old version that is no longer whole on disk
    ├── NoFuse                      5           ENODEV   this machine cannot mount
    ├── MountpointUnusable          6           ENOTDIR  the folder is missing, not empty or in use
    ├── NotMounted                  7           EINVAL   nothing of ours is mounted there, or it is busy
    ├── CacheUnusable               2           EIO      the cache directory cannot be used
    └── CacheFull                   1           ENOSPC   no room for a block; no reader ever sees it

A message is one line that says what is wrong and how to mend it, and holds no secret.
"""

from __future__ import annotations

import errno


class PictofsError(Exception):
    """Base of all; `str()` is the one line for a person."""

    exit_code = 1
    errno = errno.EIO


class UsageError(PictofsError):
    """An option, a path or an argument is wrong."""

    exit_code = 2
    errno = errno.EINVAL


class ServiceError(PictofsError):
    """The Developer API said no, or said nothing.

    `status` is the HTTP status (0 without an answer); `code` the service's own word for it;
    `request_id` what the service calls the request; `retry_after_s` when it asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class KeyRefused(ServiceError):
    """401, or 403 on everything: the key is not (or no longer) good."""

    exit_code = 3
    errno = errno.EACCES


class Forbidden(ServiceError):
    """403 on one thing: the key's role does not allow it."""

    errno = errno.EACCES


class NotFound(ServiceError):
    """404: it does not exist, or belongs to another organization."""

    errno = errno.ENOENT


class Conflict(ServiceError):
    """409: the name is taken."""

    errno = errno.EEXIST


class Unprocessable(ServiceError):
    """400 or 422: the service does not understand an argument."""

    errno = errno.EINVAL


class PlanLimit(ServiceError):
    """402: the organization's plan does not include it."""

    errno = errno.EACCES


class RateLimited(ServiceError):
    """429, or the governor knows that the hour's budget is spent."""

    errno = errno.EAGAIN


class ServerFault(ServiceError):
    """5xx, 408, or a body that is not what the documents promise."""


class Unreachable(ServiceError):
    """No answer: network, DNS, TLS or time out."""

    exit_code = 4


class TransferError(PictofsError):
    """Bytes from the storage host did not arrive as promised.

    `status` is the HTTP status (0 without an answer); `retry_after_s` when the host asked to wait.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class UrlExpired(TransferError):
    """The storage host refused the signed URL (400, 401, 403): a fresh one is needed."""


class ObjectGone(TransferError):
    """The storage host no longer has the object (404, 410)."""

    errno = errno.ESTALE


class ObjectChanged(TransferError):
    """The object has another generation than the one asked for (412)."""

    errno = errno.ESTALE


class Damaged(TransferError):
    """Length or checksum is not what the headers promised."""


class ArchiveError(PictofsError):
    """An export's archive, or a member of it, is not what a ZIP should be; the `.zip` reads all the same."""


class ArchiveTooLarge(ArchiveError):
    """An archive has too many members to be opened, or a member is larger than the store."""

    errno = errno.EFBIG


class Stale(PictofsError):
    """An old version is asked for that is no longer whole on disk."""

    errno = errno.ESTALE


class NoFuse(PictofsError):
    """This machine cannot mount a FUSE file system."""

    exit_code = 5
    errno = errno.ENODEV


class MountpointUnusable(PictofsError):
    """The mountpoint is missing, no folder, not empty or in use."""

    exit_code = 6
    errno = errno.ENOTDIR


class NotMounted(PictofsError):
    """Nothing of ours is mounted there, or it is busy."""

    exit_code = 7
    errno = errno.EINVAL


class CacheUnusable(PictofsError):
    """The cache directory cannot be used as one: to a reader a disk that fails, not a read-only one."""

    exit_code = 2
    errno = errno.EIO


class CacheFull(PictofsError):
    """The store has no room: `need_bytes` must be evicted first. Readers get their bytes all the same."""

    errno = errno.ENOSPC

    def __init__(self, message: str, *, need_bytes: int) -> None:
        super().__init__(message)
        self.need_bytes = need_bytes


def by_status(status: int) -> type[ServiceError]:
    """The class for an API status; statuses the documents do not name fall to their hundred."""
    exact: dict[int, type[ServiceError]] = {
        401: KeyRefused,
        402: PlanLimit,
        403: Forbidden,
        404: NotFound,
        408: ServerFault,
        409: Conflict,
        429: RateLimited,
    }
    if status in exact:
        return exact[status]
    return ServerFault if status >= 500 else Unprocessable
