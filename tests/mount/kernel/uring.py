"""io_uring's read by plain system calls: a ring of one entry, submitted and waited for.

liburing is header-only where it matters here (its calls are inline), so there is nothing to load.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

_SETUP, _ENTER = 425, 426  # the same on every architecture
_READ = 22  # IORING_OP_READ
_GETEVENTS = 1
_SQ_RING, _CQ_RING, _SQES = 0, 0x8000000, 0x10000000


def read(fd: int, size: int, offset: int) -> bytes:
    """`size` bytes at `offset`; OSError ENOSYS or EPERM where there is no io_uring."""
    libc = ctypes.CDLL(None, use_errno=True)
    parameters = bytearray(120)  # struct io_uring_params
    ring = libc.syscall(_SETUP, 2, (ctypes.c_char * 120).from_buffer(parameters))
    if ring < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        entries, completions = struct.unpack_from("=II", parameters)
        _, sq_tail, _, _, _, _, sq_array = struct.unpack_from("=IIIIIII", parameters, 40)
        cq_head, _, cq_mask, _, _, cqes = struct.unpack_from("=IIIIII", parameters, 80)
        sq = mmap.mmap(ring, sq_array + entries * 4, offset=_SQ_RING)
        cq = mmap.mmap(ring, cqes + completions * 16, offset=_CQ_RING)
        submissions = mmap.mmap(ring, entries * 64, offset=_SQES)
        buffer = mmap.mmap(-1, size)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        # struct io_uring_sqe: opcode flags ioprio fd off addr len …
        struct.pack_into("=BBHiQQI", submissions, 0, _READ, 0, 0, fd, offset, address, size)
        struct.pack_into("=I", sq, sq_array, 0)
        struct.pack_into("=I", sq, sq_tail, 1)
        if libc.syscall(_ENTER, ring, 1, 1, _GETEVENTS, None, 0) != 1:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        (head,) = struct.unpack_from("=I", cq, cq_head)
        (mask,) = struct.unpack_from("=I", cq, cq_mask)
        _, result = struct.unpack_from("=Qi", cq, cqes + (head & mask) * 16)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return buffer[:result]
    finally:
        os.close(ring)


def why_not() -> str:
    """Why there is no io_uring here; empty where there is."""
    try:
        with open("/proc/self/exe", "rb") as file:
            read(file.fileno(), 4, 0)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.ENOMEM):
            return f"no io_uring here: {error.strerror}"
        raise
    return ""
