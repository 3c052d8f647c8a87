"""The one table from what can go wrong to the errno that the reader of a file sees.

    PictofsError            its class' own errno (`pictofs.errors`)
    CacheUnusable           EIO as well, and a line in the log: nobody else says it
    OSError                 its errno where that is positive, else EIO
    Failed over the link    the errno in the message where that is positive, else EIO
    no progress in time     EIO
    interrupted             EINTR
    the key is refused      EACCES
    unmounting              ENOTCONN
    anything else           EIO, with a traceback in the log: it is a fault of ours

An errno is never 0 and never negative: either would reach the caller as success.
"""

from __future__ import annotations

import errno
import logging

from pictofs.errors import CacheUnusable, PictofsError

NO_PROGRESS = errno.EIO
INTERRUPTED = errno.EINTR
REFUSED = errno.EACCES
UNMOUNTING = errno.ENOTCONN

_log = logging.getLogger(__name__)


def positive(number: int | None) -> int:
    """`number` where it is an errno, else EIO."""
    return number if number is not None and 0 < number < 4096 else errno.EIO


def errno_of(error: Exception) -> int:
    """The errno for an exception that ended an operation; a fault of ours is logged with its traceback."""
    if isinstance(error, CacheUnusable):
        _log.error("%s", error)
    if isinstance(error, PictofsError | OSError):
        return positive(error.errno)
    _log.error("an operation ended in a fault of pictofs", exc_info=error)
    return errno.EIO
