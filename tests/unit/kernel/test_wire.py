"""The wire structures are those of linux/fuse.h: asked of the C compiler, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pictofs.drivers.kernel import wire
from pictofs.drivers.kernel.wire import Fopen, Init, Notify, Opcode

_HEADER = Path("/usr/include/linux/fuse.h")

# name in linux/fuse.h → bytes; of replies that are packed with their header, the body alone
SIZES = {
    "fuse_in_header": wire.IN_HEADER.size,
    "fuse_out_header": wire.OUT_HEADER.size,
    "fuse_init_in": wire.INIT_IN.size,
    "fuse_init_out": wire.INIT_REPLY.size - wire.OUT_HEADER.size,
    "fuse_entry_out": wire.ENTRY_REPLY.size - wire.OUT_HEADER.size,
    "fuse_attr_out": wire.ATTR_REPLY.size - wire.OUT_HEADER.size,
    "fuse_open_out": wire.OPEN_REPLY.size - wire.OUT_HEADER.size,
    "fuse_getxattr_in": wire.GETXATTR_IN.size,
    "fuse_getxattr_out": wire.GETXATTR_REPLY.size - wire.OUT_HEADER.size,
    "fuse_statfs_out": wire.STATFS_REPLY.size - wire.OUT_HEADER.size,
    "fuse_interrupt_in": wire.INTERRUPT_IN.size,
    "fuse_open_in": wire.OPEN_IN.size,
    "fuse_notify_inval_inode_out": wire.INVAL_INODE.size - wire.OUT_HEADER.size,
    "fuse_notify_inval_entry_out": wire.INVAL_ENTRY.size - wire.OUT_HEADER.size,
    "fuse_dirent": wire.DIRENT_BYTES,
    "fuse_direntplus": wire.DIRENTPLUS_BYTES,
}
# where a field lies that is read from a request: (structure, field) → offset
OFFSETS = {
    ("fuse_in_header", "opcode"): 4, ("fuse_in_header", "unique"): 8, ("fuse_in_header", "nodeid"): 16,
    ("fuse_in_header", "pid"): 32, ("fuse_read_in", "offset"): 8, ("fuse_read_in", "size"): 16,
    ("fuse_init_in", "flags"): 12, ("fuse_init_in", "flags2"): 16, ("fuse_release_in", "fh"): 0,
    ("fuse_init_out", "max_pages"): 28, ("fuse_init_out", "flags2"): 32, ("fuse_entry_out", "attr"): 40,
    ("fuse_attr", "mode"): 60, ("fuse_attr", "nlink"): 64, ("fuse_attr", "blksize"): 80,
    ("fuse_kstatfs", "bsize"): 40, ("fuse_kstatfs", "namelen"): 44, ("fuse_kstatfs", "frsize"): 48,
}
# newer than the headers of some distributions
_NEWER = {
    "FUSE_PASSTHROUGH", "FUSE_HAS_RESEND", "FUSE_NOTIFY_RESEND", "FUSE_NOTIFY_INC_EPOCH", "FOPEN_PASSTHROUGH",
    "FUSE_COPY_FILE_RANGE_64", "FUSE_HAS_EXPIRE_ONLY", "FUSE_STATX", "FUSE_DEV_IOC_BACKING_OPEN",
    "FUSE_DEV_IOC_BACKING_CLOSE", "FUSE_TMPFILE", "FUSE_SYNCFS", "FOPEN_NOFLUSH", "FUSE_INIT_EXT",
}


def constants() -> dict[str, int]:
    named = {f"FUSE_{opcode.name}": int(opcode) for opcode in Opcode}
    named |= {f"FUSE_{flag.name}": int(flag) for flag in Init}
    named |= {f"FOPEN_{flag.name}": int(flag) for flag in Fopen}
    named |= {f"FUSE_NOTIFY_{code.name}": int(code) for code in Notify}
    return named | {
        "FUSE_DEV_IOC_BACKING_OPEN": wire.FUSE_DEV_IOC_BACKING_OPEN,
        "FUSE_DEV_IOC_BACKING_CLOSE": wire.FUSE_DEV_IOC_BACKING_CLOSE,
        "FUSE_ROOT_ID": wire.FUSE_ROOT_ID,
    }


@pytest.mark.skipif(not shutil.which("gcc") or not _HEADER.exists(), reason="no gcc, or no linux/fuse.h")
def test_sizes_offsets_and_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    text = _HEADER.read_text()
    lines = [f'printf("{name} %zu\\n", sizeof(struct {name}));' for name in SIZES]
    lines += [
        f'printf("{name}.{field} %zu\\n", offsetof(struct {name}, {field}));' for name, field in OFFSETS
    ]
    known = [name for name in constants() if name not in _NEWER or name in text]
    lines += [f'printf("{name} %llu\\n", (unsigned long long)({name}));' for name in known]
    source = tmp_path / "sizes.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n#include <linux/fuse.h>\n"
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    subprocess.run(["gcc", "-o", tmp_path / "sizes", source], check=True, timeout=60)
    said = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True, timeout=10).stdout
    found = {name: int(value) for name, value in (line.split() for line in said.splitlines())}
    ours = SIZES | {f"{name}.{field}": at for (name, field), at in OFFSETS.items()}
    ours |= {name: constants()[name] for name in known}
    assert found == ours


def test_rows_of_a_directory_are_padded_to_eight_bytes() -> None:
    for length in (1, 7, 8, 9, 255):
        name = b"x" * length
        row = wire.dirent(length).pack(5, 6, length, 8, name)
        assert len(row) % 8 == 0
        assert row[wire.DIRENT_BYTES :].rstrip(b"\0") == name
        assert len(wire.direntplus(length).pack(*(0,) * 22, 5, 6, length, 8, name)) % 8 == 0


def test_an_error_is_negative_on_the_wire_and_a_notification_has_no_unique() -> None:
    assert wire.OUT_HEADER.unpack(wire.error(9, 2)) == (16, -2, 9)
    length, code, unique = wire.OUT_HEADER.unpack_from(wire.inval_entry(7, b"name"))
    assert (length, code, unique) == (16 + 16 + 5, Notify.INVAL_ENTRY, 0)
    assert wire.inval_entry(7, b"name").endswith(b"name\0")
    assert wire.INVAL_INODE.unpack(wire.inval_inode(3))[3:] == (3, -1, 0)


def test_every_write_is_refused_and_nothing_that_reads_is() -> None:
    assert Opcode.WRITE in wire.WRITES
    assert not wire.WRITES & {Opcode.LOOKUP, Opcode.READ, Opcode.OPEN, Opcode.READDIR, Opcode.STATX}
    assert max(Opcode) < wire.OPCODES
