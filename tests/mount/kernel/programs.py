"""Programs that read on a mount, each a process of its own: one that hangs takes no test along."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]


def reader(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python program of its own that may hang on a mount."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finished(process: subprocess.Popen[str], limit_s: float = 20.0) -> str:
    try:
        said, wrong = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, wrong
    return said


@contextmanager
def holding(path: Path, count: int) -> Iterator[Callable[[str], str]]:
    """Another process that has a file open so often, and does as it is told: `hash`, `open`, `close`.

    Not this one: what it has open its children close, and a close may wait for the server to be started.
    """
    code = (
        "import hashlib,os,sys\n"
        "fds = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(int(sys.argv[2]))]\n"
        "print('held', flush=True)\n"
        "for line in sys.stdin:\n"
        "    verb = line.strip(); said = 'done'\n"
        "    if verb == 'open': fds.append(os.open(sys.argv[1], os.O_RDONLY))\n"
        "    elif verb == 'close': os.close(fds.pop())\n"
        "    else: said = hashlib.sha1(os.pread(fds[-1], 1 << 24, 0)).hexdigest()\n"
        "    print(said, flush=True)\n"
    )
    process = reader(code, path, count)
    assert process.stdin is not None
    assert process.stdout is not None
    said, told = process.stdout, process.stdin

    def tell(verb: str) -> str:
        told.write(verb + "\n")
        told.flush()
        return said.readline().strip()

    try:
        assert said.readline() == "held\n"
        yield tell
    finally:
        process.communicate(timeout=20)


HASH = "import hashlib,sys; print(hashlib.sha1(open(sys.argv[1],'rb',0).read()).hexdigest())"


def digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


class _Dirent(ctypes.Structure):
    _fields_ = (
        ("d_ino", ctypes.c_uint64),
        ("d_off", ctypes.c_int64),
        ("d_reclen", ctypes.c_ushort),
        ("d_type", ctypes.c_ubyte),
        ("d_name", ctypes.c_char * 256),
    )


def libc() -> ctypes.CDLL:
    """opendir, readdir, telldir, seekdir, closedir, with their types."""
    c = ctypes.CDLL(None, use_errno=True)
    c.opendir.restype = ctypes.c_void_p
    c.readdir.restype = ctypes.POINTER(_Dirent)
    c.telldir.restype = ctypes.c_long
    c.readdir.argtypes = c.closedir.argtypes = c.telldir.argtypes = [ctypes.c_void_p]
    c.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
    return c


def entries(path: Path) -> list[tuple[str, int, int]]:
    """(name, inode number, d_type) of every row, `.` and `..` too."""
    c = libc()
    directory = c.opendir(os.fsencode(path))
    found = list(iter(lambda: row_of(c, directory), None))
    c.closedir(directory)
    return found


def row_of(c: ctypes.CDLL, directory: int) -> tuple[str, int, int] | None:
    """The next row of an open directory; None at its end."""
    row = c.readdir(directory)
    return (os.fsdecode(row[0].d_name), row[0].d_ino, row[0].d_type) if row else None
