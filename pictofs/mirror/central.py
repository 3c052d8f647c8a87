"""Reads an archive's central directory: a program of its own, `python -m pictofs.mirror.central LIMIT SIZE`.

A million members take the standard library's zipfile 8 s and 617 MB. In a process of its own that time is
not the event loop's, and that memory is given back; it may use so much of both and no more. It opens no file:
what it reads it asks its parent for over stdin and stdout, in frames of the link.

    child → parent   Ask(first, size)…     the parent answers with as many bytes, and nothing around them
                     Found(count)          then Page, Page, …, End
                     Refused(errno, what)  and that is all
"""

from __future__ import annotations

import errno
import gc
import io
import os
import resource
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

import msgspec

from pictofs.catalog.model import MemberFacts
from pictofs.errors import ArchiveError, ArchiveTooLarge
from pictofs.link.frames import pack
from pictofs.mirror.archive_names import Entry, Placed

PAGE_MEMBERS = 1000
BUFFER_BYTES = 64 << 10
MEMORY_BYTES = 3 << 30     # two million members take half of it
CPU_S = 120
_ENCRYPTED = 0x1
_UTF8 = 0x800
_UNICODE_PATH = 0x7075     # Info-ZIP's extra field: version, CRC-32 of the name it stands for, UTF-8


class Ask(msgspec.Struct, tag="ask", array_like=True, frozen=True):
    """These bytes of the archive are needed."""

    first: int
    size_bytes: int


class Found(msgspec.Struct, tag="found", array_like=True, frozen=True):
    """So many members and directories follow."""

    count: int


class Page(msgspec.Struct, tag="page", array_like=True, frozen=True):
    """The next of them."""

    members: list[MemberFacts]


class End(msgspec.Struct, tag="end", array_like=True, frozen=True):
    """That was all."""


class Refused(msgspec.Struct, tag="refused", array_like=True, frozen=True):
    """It cannot be opened."""

    errno: int
    what: str


Message = Ask | Found | Page | End | Refused


class Remote(io.RawIOBase):
    """The archive, `size_bytes` long, read through the parent."""

    def __init__(self, size_bytes: int, source: BinaryIO, sink: BinaryIO) -> None:
        self._size_bytes = size_bytes
        self._source = source
        self._sink = sink
        self._at = 0

    def readable(self) -> bool:
        """Nothing else."""
        return True

    def seekable(self) -> bool:
        """At no cost."""
        return True

    def tell(self) -> int:
        """The offset of the next read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As any file; behind the end there is nothing to read."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Exactly what there is of it: the parent gives everything that it is asked for, or ends us."""
        wanted = max(0, min(len(buffer), self._size_bytes - self._at))
        if wanted:
            self._sink.write(pack(Ask(self._at, wanted)))
            self._sink.flush()
            view = memoryview(buffer)[:wanted]
            while view:
                count = self._source.readinto(view)  # type: ignore[attr-defined]
                if not count:
                    raise EOFError("the parent has gone")
                view = view[count:]
            self._at += wanted
        return wanted


def entries(archive: zipfile.ZipFile) -> Iterator[Entry]:
    """What the archive says of its members, in its order; each is let go of on the way."""
    infos = archive.filelist
    archive.NameToInfo.clear()
    infos.reverse()
    while infos:
        info = infos.pop()
        yield Entry(
            _name(info), info.compress_type, bool(info.flag_bits & _ENCRYPTED), info.header_offset,
            info.compress_size, info.file_size, info.CRC,
        )  # fmt: skip


def _name(info: zipfile.ZipInfo) -> str:
    """The name as it is there: UTF-8 where a flag, Info-ZIP's extra field or its bytes say so, else cp437."""
    name = info.orig_filename
    if info.flag_bits & _UTF8 or (len(info.extra) < 9 and name.isascii()):
        return name
    written = name.encode("cp437")  # as zipfile read it: each byte is a character
    better = _extra_name(info.extra, written) if len(info.extra) >= 9 else None
    try:
        # Debian's zip, older jars and fastjar write UTF-8 and no flag; what means something else in code
        # page 437 is hardly ever UTF-8 by chance.
        return (better or written).decode()
    except UnicodeDecodeError:
        return name


def _extra_name(extra: bytes, written: bytes) -> bytes | None:
    """The name in Info-ZIP's extra field, where it stands for this one."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == _UNICODE_PATH and length > 5 and at + 4 + length <= len(extra):
            version, crc32 = struct.unpack_from("<BL", extra, at + 4)
            if version == 1 and crc32 == zlib.crc32(written):
                return extra[at + 9 : at + 4 + length]
        at += 4 + length
    return None


def read(archive: BinaryIO, limit: int) -> Iterator[Message]:
    """Everything that is said of an archive, and at most `limit` members of it."""
    try:
        with zipfile.ZipFile(archive) as opened:
            if len(opened.filelist) > limit:
                count = len(opened.filelist)
                raise ArchiveTooLarge(f"it has {count} members, and {limit} can be shown as files")
            placed = Placed(entries(opened), limit)
    except ArchiveError as error:
        yield Refused(error.errno, str(error))
    except MemoryError:
        yield Refused(errno.EFBIG, f"its directory takes more than {MEMORY_BYTES >> 30} GiB of memory")
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, struct.error) as error:
        yield Refused(errno.EIO, f"it is no ZIP that can be opened ({error})")
    else:
        yield Found(placed.count)
        facts = placed.facts()
        while page := list(islice(facts, PAGE_MEMBERS)):
            yield Page(page)
        yield End()


def _bound() -> None:
    """No more than so much memory and time; and the first to go where the machine runs out of memory."""
    bounds = ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_CORE, 0))
    for what, bound in bounds:
        _, most = resource.getrlimit(what)
        if most == resource.RLIM_INFINITY or most > bound:
            resource.setrlimit(what, (bound, most))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # not Linux


def main(limit: int, size_bytes: int) -> None:
    """Speaks to the parent until all is said."""
    _bound()
    gc.disable()  # nothing here goes in circles, and a million objects are looked through often
    source, sink = os.fdopen(0, "rb", buffering=0), os.fdopen(1, "wb")
    remote = io.BufferedReader(Remote(size_bytes, source, sink), BUFFER_BYTES)
    for message in read(remote, limit):
        sink.write(pack(message))
    sink.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
