"""INIT, which the kernel sends once: what was agreed is kept by whoever keeps the descriptor."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import struct
import tempfile
from dataclasses import asdict, dataclass

from pictofs.drivers.kernel import wire
from pictofs.drivers.kernel.wire import Init
from pictofs.errors import NoFuse

PAGE_BYTES = 4096
REQUEST_PAGES = 256                # 1 MiB reads; fs.fuse.max_pages_limit is 256 unless raised
READ_AHEAD_BYTES = 1 << 20
BUFFER_BYTES = 128 << 10           # of the reader: at least 8 KiB and max_write; batches of FORGET fill it
_MAX_WRITE_BYTES = 4096            # the least there is: nobody writes here
_BACKGROUND = 64                   # requests without a waiting process under way at once

# Not ASYNC_READ: with it a reader with a SIGINT handler waits a slow read out, INTERRUPT answered or not.
# AUTO_INVAL_DATA, not EXPLICIT: below an overlay control files change under one node, and the kernel drops
# the old text when it sees another mtime. A file with valid attributes is read without asking either way.
_WANTED = (
    Init.AUTO_INVAL_DATA | Init.DO_READDIRPLUS | Init.READDIRPLUS_AUTO | Init.NO_OPEN_SUPPORT
    | Init.PARALLEL_DIROPS | Init.MAX_PAGES | Init.CACHE_SYMLINKS | Init.NO_OPENDIR_SUPPORT | Init.HAS_RESEND
)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides hold to for the life of the connection."""

    minor: int                     # of the protocol
    flags: int                     # wire.Init, as answered
    io: str                        # cache or passthrough: what OPEN is answered with
    max_read_bytes: int
    note: str = ""                 # one line for the person who mounts, when something was not to be had

    @property
    def no_open(self) -> bool:
        """May OPEN be answered with ENOSYS, once and for all?"""
        return self.io == "cache" and bool(self.flags & Init.NO_OPEN_SUPPORT)

    @property
    def no_opendir(self) -> bool:
        """May OPENDIR be?"""
        return bool(self.flags & Init.NO_OPENDIR_SUPPORT)

    @property
    def resend(self) -> bool:
        """Can another process take over in the middle of a request?"""
        return bool(self.flags & Init.HAS_RESEND)

    @property
    def inc_epoch(self) -> bool:
        """Is there FUSE_NOTIFY_INC_EPOCH?"""
        return self.minor >= wire.INC_EPOCH_MINOR

    def to_json(self) -> str:
        """For the process that serves next."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Negotiated:
        """What `to_json` wrote."""
        return cls(**json.loads(text))


def negotiate(fd: int, *, io: str = "cache", cache_dir: str = "", timeout_s: float = 10.0) -> Negotiated:
    """Answer INIT on a descriptor just mounted; the mount serves from then on whoever reads `fd`.

    `io=passthrough` is tried with a file in `cache_dir`; where it is not permitted the answer is `cache` and
    a note. NoFuse when the kernel is too old (7.31, Linux 5.4, is needed), or sends no INIT in `timeout_s`.
    """
    unique, minor, read_ahead_bytes, offered = _init(fd, timeout_s)
    if minor < 31:
        os.write(fd, wire.error(unique, errno.EPROTO))
        raise NoFuse(f"the kernel speaks FUSE 7.{minor}; pictofs needs 7.31 (Linux 5.4), or -o driver=fusepy")
    wanted = int(_WANTED) | (Init.PASSTHROUGH.value if io == "passthrough" else 0)
    agreed = wanted & offered
    if agreed >> 32:
        agreed |= Init.INIT_EXT.value
    agreed_minor = min(minor, wire.FUSE_KERNEL_MINOR_VERSION)
    os.write(fd, _answer(unique, agreed_minor, min(read_ahead_bytes, READ_AHEAD_BYTES), agreed))
    note = ""
    if io == "passthrough":
        refusal = _passthrough_refused(fd, agreed, cache_dir)
        if refusal:
            io, note = "cache", f"io=passthrough is not to be had here ({refusal}); io=cache instead"
    max_read_bytes = (REQUEST_PAGES if agreed & Init.MAX_PAGES else 32) * PAGE_BYTES
    return Negotiated(agreed_minor, agreed, io, max_read_bytes, note)


def _init(fd: int, timeout_s: float) -> tuple[int, int, int, int]:
    """(unique, the kernel's minor version, its read-ahead in bytes, the flags it offers)."""
    buffer = bytearray(BUFFER_BYTES)
    while True:
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        if not ready.poll(timeout_s * 1000):
            raise NoFuse(f"the kernel sent no INIT within {timeout_s:g} s")
        try:
            length = os.readv(fd, [buffer])
        except OSError as error:
            raise NoFuse(f"the mount ended before it began: {error.strerror}") from error
        _, opcode, unique, _, _ = wire.REQUEST.unpack_from(buffer)
        if opcode != wire.Opcode.INIT:
            raise NoFuse(f"the kernel began with request {opcode}, not INIT: somebody serves this already")
        body = length - wire.IN_HEADER.size
        major, minor, read_ahead_bytes, low = wire.INIT_IN_COMPAT.unpack_from(buffer, wire.IN_HEADER.size)
        if major > wire.FUSE_KERNEL_VERSION:
            # "reply with the major version it supports … and expect a new INIT message"
            os.write(fd, _answer(unique, wire.FUSE_KERNEL_MINOR_VERSION, 0, 0))
            continue
        high = 0
        if low & Init.INIT_EXT and body >= wire.INIT_IN.size:
            high = wire.INIT_IN.unpack_from(buffer, wire.IN_HEADER.size)[4]
        return unique, minor, read_ahead_bytes, low | high << 32


def _answer(unique: int, minor: int, read_ahead_bytes: int, flags: int) -> bytes:
    """fuse_init_out. A stack depth of 1 lets plain file systems, no stacked ones, be passed through to."""
    return wire.INIT_REPLY.pack(
        wire.INIT_REPLY.size, 0, unique,
        wire.FUSE_KERNEL_VERSION, minor, read_ahead_bytes, flags & 0xFFFFFFFF,
        _BACKGROUND, _BACKGROUND * 3 // 4, _MAX_WRITE_BYTES, 1,
        REQUEST_PAGES, 0, flags >> 32, 1 if flags & Init.PASSTHROUGH else 0, 0,
    )


def _passthrough_refused(fd: int, agreed: int, cache_dir: str) -> str:
    """Why not, or nothing; found out by opening a backing file."""
    if not agreed & Init.PASSTHROUGH:
        return "the kernel has none: Linux 6.9 and CONFIG_FUSE_PASSTHROUGH"
    try:
        with tempfile.TemporaryFile(dir=cache_dir or None) as file:
            close_backing(fd, open_backing(fd, file.fileno()))
    except OSError as error:
        if error.errno == errno.EPERM:
            return "it takes CAP_SYS_ADMIN"
        if error.errno == errno.ELOOP:
            return "cache_dir lies on a stacked file system"
        return f"cache_dir: {error.strerror}"
    return ""


def open_backing(fd: int, file: int) -> int:
    """FUSE_DEV_IOC_BACKING_OPEN: the id under which OPEN may name `file`. OSError EPERM, ELOOP."""
    # the id comes back as the ioctl's result, which Python hands out only for a mutable buffer
    argument = bytearray(wire.BACKING_MAP.pack(file, 0, 0))
    return int(fcntl.ioctl(fd, wire.FUSE_DEV_IOC_BACKING_OPEN, argument, True))


def close_backing(fd: int, backing: int) -> None:
    """FUSE_DEV_IOC_BACKING_CLOSE: the id is free; files open under it keep their backing."""
    try:
        fcntl.ioctl(fd, wire.FUSE_DEV_IOC_BACKING_CLOSE, struct.pack("=I", backing))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
