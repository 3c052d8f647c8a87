"""What fusepy calls by name: paths and libfuse's structures in, vfs' answers out."""

from __future__ import annotations

import codecs
import errno
import logging
import os
import stat
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from pictofs.vfs.types import Attr, DirEntry, Statfs

if TYPE_CHECKING:
    from pictofs.drivers.fusepy import FusepyDriver

PAGE_ENTRIES = 1000
SECTOR_BYTES = 512     # the unit of st_blocks
IO_BYTES = 1 << 17     # st_blksize: what libfuse 2 asks for at most
XATTRS = "user.pictofs."

_log = logging.getLogger(__name__)


def path_codec() -> str:
    """The name of a codec for paths that lets any bytes through; fusepy decodes strictly, to EINVAL.

    What is not UTF-8 becomes lone surrogates, which no file of ours is called.
    """
    name = "pictofs_path"

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        return text.encode("utf-8", "surrogateescape"), len(text)

    def decode(data: Any, errors: str = "strict") -> tuple[str, int]:
        raw = bytes(data)
        return raw.decode("utf-8", "surrogateescape"), len(raw)

    def find(wanted: str) -> codecs.CodecInfo | None:
        return codecs.CodecInfo(encode, decode, name=name) if wanted == name else None

    try:
        codecs.lookup(name)
    except LookupError:
        codecs.register(find)
    return name


class Operations:
    """fusepy calls `operations(name, *arguments)`.

    Operations that are missing here are ENOSYS on purpose: without `flush`, `access` and `ioctl` the kernel
    or libfuse answers by itself. (`opendir` must not be missing: libfuse crashes.)
    """

    use_ns = True          # times are nanoseconds
    flag_nullpath_ok = 1   # read, release, readdir… need no path: libfuse then builds none
    flag_nopath = 1

    def __init__(self, driver: FusepyDriver, refusal: Callable[[int], OSError]) -> None:
        self._driver = driver
        self._refusal = refusal     # FuseOSError: the one exception that may leave
        self._directories: dict[int, int] = {}

    def __call__(self, operation: str, *arguments: Any) -> Any:
        """The one wrapper: nothing leaves but a FuseOSError with a positive errno; a fault of ours is EIO."""
        try:
            return getattr(self, operation)(*arguments)
        except OSError as error:
            number = error.errno if error.errno is not None and error.errno > 0 else errno.EIO
        except Exception:  # noqa: BLE001 - the boundary to C: anything that passes it becomes garbage there
            _log.exception("%s failed in the driver", operation)
            number = errno.EIO
        raise self._refusal(number)

    # life

    def init(self, path: str) -> None:
        """The kernel is there."""
        self._driver.start()

    # names and attributes

    def getattr(self, path: str | None, opened: Any = None) -> dict[str, int]:
        """stat of a path, or of an open file."""
        driver = self._driver
        handle = driver.files.get(opened.fh) if opened is not None else None
        if handle is not None:
            attr = driver.ask(partial(driver.vfs.getattr, handle.node))
            return _stat_of(attr, len(handle.text) if handle.text is not None else attr.size_bytes)
        if path is None:
            raise OSError(errno.ESTALE, "no path and no open file")
        attr = driver.attr_of(path)
        driver.files.show(path, _version(attr))
        return _stat_of(attr, attr.size_bytes)

    def readlink(self, path: str) -> str:
        """The target of a symbolic link."""
        driver = self._driver
        target: bytes = driver.ask(partial(driver.vfs.readlink, driver.node_of(path)))
        return target.decode("utf-8", "surrogateescape")

    def opendir(self, path: str) -> int:
        """A directory's handle is its node: the listing is made when it is read."""
        node = self._driver.node_of(path)
        return node

    def readdir(self, path: str | None, node: int) -> list[tuple[str, dict[str, int], int]]:
        """The whole directory, or an errno; libfuse keeps it for seekdir."""
        driver = self._driver
        own, above = driver.vfs.dots(node)
        kind = stat.S_IFDIR
        rows = [
            (".", {"st_ino": own, "st_mode": kind}, 0),
            ("..", {"st_ino": above, "st_mode": kind}, 0),
        ]
        cookie = 0
        while True:
            page: list[DirEntry] = driver.ask(partial(driver.vfs.readdir, node, cookie, PAGE_ENTRIES))
            if not page:
                return rows
            rows += [(entry.name, {"st_ino": entry.ino, "st_mode": entry.mode}, 0) for entry in page]
            cookie = page[-1].cookie

    def releasedir(self, path: str | None, node: int) -> int:
        """Nothing is kept."""
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """The organization's bytes and files; nothing is free."""
        driver = self._driver
        found: Statfs = driver.ask(driver.vfs.statfs)
        return {
            "f_bsize": found.block_bytes,
            "f_frsize": found.block_bytes,
            "f_blocks": found.blocks,
            "f_bfree": 0,
            "f_bavail": 0,
            "f_files": found.files,
            "f_ffree": 0,
            "f_favail": 0,
            "f_namemax": found.name_limit_bytes,
        }

    def getxattr(self, path: str, name: str, position: int = 0) -> bytes:
        """`user.pictofs.*`; what programs try on every file (ACLs, capabilities) costs no walk."""
        if not name.startswith(XATTRS):
            raise OSError(errno.ENODATA, name)
        driver = self._driver
        value: bytes = driver.ask(partial(driver.vfs.getxattr, driver.node_of(path), name))
        return value

    def listxattr(self, path: str) -> list[str]:
        """The names that have a value."""
        driver = self._driver
        names: list[str] = driver.ask(partial(driver.vfs.listxattr, driver.node_of(path)))
        return names

    # bytes

    def open(self, path: str, opened: Any) -> int:
        """Fixes the version that this handle reads, and what the kernel may keep of it."""
        if opened.flags & (os.O_ACCMODE | os.O_TRUNC | os.O_CREAT):
            raise OSError(errno.EROFS, path)
        driver = self._driver
        attr = driver.attr_of(path)
        text = None
        if driver.vfs.rendered(attr.node):
            # its text is another at every look: this handle reads that of its own open
            text = driver.read(attr.node, attr.size_bytes, 0)
        opened.fh, direct, keep = driver.files.open(path, _version(attr), text)
        opened.direct_io = int(direct)
        opened.keep_cache = int(keep)
        return 0

    def read(self, path: str | None, size: int, offset: int, opened: Any) -> bytes:
        """Whole unless the file ends; ESTALE for a version that the kernel no longer has the size of."""
        driver = self._driver
        handle = driver.files.get(opened.fh)
        if handle is None or driver.files.outdated(handle):
            raise OSError(errno.ESTALE, "another version of this file was opened")
        if handle.text is not None:
            return handle.text[offset : offset + size]
        return driver.read(handle.node, size, offset)

    def release(self, path: str | None, opened: Any) -> int:
        """The last descriptor of an open file is closed."""
        self._driver.files.close(opened.fh)
        return 0

    # everything that would write

    def _refuse(self, *arguments: Any) -> NoReturn:
        """The mount is read-only."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    create = mknod = mkdir = symlink = link = _refuse
    unlink = rmdir = rename = truncate = write = _refuse
    chmod = chown = utimens = setxattr = removexattr = _refuse


def _version(attr: Attr) -> tuple[int, int, int]:
    return attr.node, attr.mtime_ns, attr.size_bytes


def _stat_of(attr: Attr, size_bytes: int) -> dict[str, int]:
    return {
        "st_ino": attr.ino,
        "st_mode": attr.mode,
        "st_nlink": attr.nlink,
        "st_uid": attr.uid,
        "st_gid": attr.gid,
        "st_size": size_bytes,
        "st_blocks": -(-size_bytes // SECTOR_BYTES),
        "st_blksize": IO_BYTES,
        "st_atime": attr.mtime_ns,
        "st_mtime": attr.mtime_ns,
        "st_ctime": attr.mtime_ns,
    }
