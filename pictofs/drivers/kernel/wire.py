"""The FUSE wire protocol: each structure, opcode and flag in use, under its name in `linux/fuse.h`.

Numbers are of protocol 7.45 (Linux 6.18), native byte order; the header's structures are padded by hand to
eight bytes, so none of them needs a compiler's alignment. Where a reply has one size, the packer holds
`fuse_out_header` and the body together: one call packs it, one `write` sends it.
"""

from __future__ import annotations

import enum
import struct

FUSE_KERNEL_VERSION = 7
FUSE_KERNEL_MINOR_VERSION = 45
FUSE_ROOT_ID = 1
FUSE_UNIQUE_RESEND = 1 << 63       # in fuse_in_header.unique: asked before, of a process that died


class Opcode(enum.IntEnum):
    """`enum fuse_opcode`."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52
    COPY_FILE_RANGE_64 = 53


OPCODES = 64                       # room for what later kernels add: the length of tables indexed by opcode

# What only a writer asks: EROFS, whatever the node.
WRITES = frozenset({
    Opcode.SETATTR, Opcode.SYMLINK, Opcode.MKNOD, Opcode.MKDIR, Opcode.UNLINK, Opcode.RMDIR, Opcode.RENAME,
    Opcode.RENAME2, Opcode.LINK, Opcode.WRITE, Opcode.SETXATTR, Opcode.REMOVEXATTR, Opcode.CREATE,
    Opcode.FALLOCATE, Opcode.COPY_FILE_RANGE, Opcode.COPY_FILE_RANGE_64, Opcode.TMPFILE,
})


class Init(enum.IntFlag):
    """The INIT flags, `FUSE_…`; bits from 32 travel in `flags2`."""

    ASYNC_READ = 1 << 0
    EXPORT_SUPPORT = 1 << 4
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24
    EXPLICIT_INVAL_DATA = 1 << 25
    INIT_EXT = 1 << 30
    HAS_EXPIRE_ONLY = 1 << 35
    PASSTHROUGH = 1 << 37
    HAS_RESEND = 1 << 39


class Fopen(enum.IntFlag):
    """`FOPEN_…`: what OPEN answers about a file."""

    DIRECT_IO = 1 << 0
    KEEP_CACHE = 1 << 1
    CACHE_DIR = 1 << 3
    NOFLUSH = 1 << 5
    PASSTHROUGH = 1 << 7


class Notify(enum.IntEnum):
    """`enum fuse_notify_code`: travels as the error of an out header whose unique is 0."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    RESEND = 7
    INC_EPOCH = 8


INC_EPOCH_MINOR = 44               # the protocol that brought FUSE_NOTIFY_INC_EPOCH

IN_HEADER = struct.Struct("=IIQQIIIHH")      # fuse_in_header: len opcode unique nodeid uid gid pid extlen pad
REQUEST = struct.Struct("=IIQQ8xI4x")        # the same, of it len opcode unique nodeid pid
OUT_HEADER = struct.Struct("=IiQ")           # fuse_out_header: len error unique

INIT_IN = struct.Struct("=IIIII44x")         # fuse_init_in: major minor max_readahead flags flags2
INIT_IN_COMPAT = struct.Struct("=IIII")      # before FUSE_INIT_EXT (7.36)
# fuse_init_out: major minor max_readahead flags, max_background congestion_threshold max_write time_gran,
# max_pages map_alignment flags2 max_stack_depth request_timeout unused
INIT_REPLY = struct.Struct("=IiQ" "IIII" "HHII" "HHIIH22x")

READ_IN = struct.Struct("=QQI")              # of fuse_read_in: fh offset size; also READDIR and READDIRPLUS
GETXATTR_IN = struct.Struct("=I4x")          # fuse_getxattr_in: size, then the name
INTERRUPT_IN = struct.Struct("=Q")           # fuse_interrupt_in: unique
OPEN_IN = struct.Struct("=II")               # fuse_open_in: flags open_flags
RELEASE_IN = struct.Struct("=Q")             # of fuse_release_in: fh

# fuse_attr: ino size blocks atime mtime ctime, their nsec mode nlink uid gid rdev blksize flags
_ATTR = "QQQQQQ" "IIIIIIIIII"
_ENTRY = "QQQQII" + _ATTR      # fuse_entry_out: nodeid generation entry_valid attr_valid, both nsec, attr
ENTRY_REPLY = struct.Struct("=IiQ" + _ENTRY)
ATTR_REPLY = struct.Struct("=IiQ" "QII" + _ATTR)     # fuse_attr_out: attr_valid attr_valid_nsec dummy attr
OPEN_REPLY = struct.Struct("=IiQ" "QIi")             # fuse_open_out: fh open_flags backing_id
GETXATTR_REPLY = struct.Struct("=IiQ" "II")          # fuse_getxattr_out: size padding
# fuse_statfs_out: blocks bfree bavail files ffree, bsize namelen frsize padding, spare
STATFS_REPLY = struct.Struct("=IiQ" "QQQQQ" "IIII24x")

INVAL_INODE = struct.Struct("=IiQ" "Qqq")            # fuse_notify_inval_inode_out: ino off len
INVAL_ENTRY = struct.Struct("=IiQ" "QII")            # fuse_notify_inval_entry_out: parent namelen flags

DIRENT_BYTES = 24                                    # FUSE_NAME_OFFSET
DIRENTPLUS_BYTES = 152                               # FUSE_NAME_OFFSET_DIRENTPLUS

BACKING_MAP = struct.Struct("=iIQ")                  # fuse_backing_map: fd flags padding
BACKING_ID = struct.Struct("=I")


def _iow(number: int, size: int) -> int:
    """_IOW(FUSE_DEV_IOC_MAGIC, number, size) as asm-generic/ioctl.h has it."""
    return 1 << 30 | size << 16 | 229 << 8 | number


FUSE_DEV_IOC_BACKING_OPEN = _iow(1, BACKING_MAP.size)
FUSE_DEV_IOC_BACKING_CLOSE = _iow(2, BACKING_ID.size)
TCGETS = 0x5401                    # asm-generic/ioctls.h; x86 and ARM alike


def dirent(name_bytes: int) -> struct.Struct:
    """`fuse_dirent` (ino off namelen type name) for names of that length, padded to eight bytes."""
    return struct.Struct(f"=QQII{_padded(name_bytes)}s")


def direntplus(name_bytes: int) -> struct.Struct:
    """`fuse_direntplus`: fuse_entry_out, then fuse_dirent."""
    return struct.Struct(f"={_ENTRY}QQII{_padded(name_bytes)}s")


def _padded(length: int) -> int:
    return length + 7 & ~7


def error(unique: int, errno: int) -> bytes:
    """The reply that says only an errno (positive here, negative on the wire); 0 is plain success."""
    return OUT_HEADER.pack(OUT_HEADER.size, -errno, unique)


def inval_inode(node: int, offset: int = -1, length: int = 0) -> bytes:
    """FUSE_NOTIFY_INVAL_INODE: attributes; page cache too from an offset >= 0, to the end for length 0."""
    return INVAL_INODE.pack(INVAL_INODE.size, Notify.INVAL_INODE, 0, node, offset, length)


def inval_entry(parent: int, name: bytes) -> bytes:
    """FUSE_NOTIFY_INVAL_ENTRY: `name` in `parent` is looked up again."""
    body = INVAL_ENTRY.pack(INVAL_ENTRY.size + len(name) + 1, Notify.INVAL_ENTRY, 0, parent, len(name), 0)
    return body + name + b"\0"


def resend() -> bytes:
    """FUSE_NOTIFY_RESEND: what was read and not answered is asked again."""
    return OUT_HEADER.pack(OUT_HEADER.size, Notify.RESEND, 0)


def inc_epoch() -> bytes:
    """FUSE_NOTIFY_INC_EPOCH: every name is looked up again."""
    return OUT_HEADER.pack(OUT_HEADER.size, Notify.INC_EPOCH, 0)
