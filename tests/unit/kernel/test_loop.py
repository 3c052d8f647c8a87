"""The loop, with a socket in the place of /dev/fuse: each request is one packet, so is each answer."""

from __future__ import annotations

import errno
import os
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pictofs.config import Settings
from pictofs.drivers.kernel import KernelDriver, handshake, wire
from pictofs.drivers.kernel.handshake import Negotiated
from pictofs.drivers.kernel.readers import Readers
from pictofs.drivers.kernel.shared import Shared
from pictofs.drivers.kernel.wire import Init, Notify, Opcode
from pictofs.errors import NoFuse
from pictofs.vfs.types import Piece
from tests.benchmarks.folder import FolderVfs


class Kernel:
    """The kernel's end of a descriptor, and a driver at the other."""

    def __init__(self, folder: Path, flags: int = 0, **options: object) -> None:
        self.end, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.settimeout(10.0)
        self.vfs = FolderVfs(str(folder))
        self.shared = Shared.create()
        self.driver = KernelDriver(
            self.vfs, Settings(), self.device.fileno(), Negotiated(45, flags, "cache", 1 << 20),
            shared=self.shared, **options,
        )
        self.thread = threading.Thread(target=self.driver.serve)
        self.thread.start()
        self.unique = 0

    def send(self, opcode: int, body: bytes = b"", node: int = 1, unique: int | None = None) -> int:
        self.unique += 2
        unique = self.unique if unique is None else unique
        head = wire.IN_HEADER.pack(wire.IN_HEADER.size + len(body), opcode, unique, node, 0, 0, 9, 0, 0)
        self.end.send(head + body)
        return unique

    def receive(self) -> tuple[int, int, bytes]:
        """(unique, errno, body)."""
        packet = self.end.recv(2 << 20)
        length, error, unique = wire.OUT_HEADER.unpack_from(packet)
        assert length == len(packet)
        return unique, -error, packet[wire.OUT_HEADER.size :]

    def ask(self, opcode: int, body: bytes = b"", node: int = 1) -> tuple[int, bytes]:
        unique = self.send(opcode, body, node)
        answered, error, said = self.receive()
        assert answered == unique
        return error, said

    def node(self, name: str) -> int:
        children = self.vfs.nodes[1].children
        assert children is not None
        return children[name]

    def close(self) -> None:
        self.end.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.device.close()
        self.vfs.close()
        self.shared.close()


ZERO_OPEN = int(Init.NO_OPEN_SUPPORT | Init.NO_OPENDIR_SUPPORT)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    (tmp_path / "a").write_bytes(b"bytes")
    (tmp_path / "held-1").write_bytes(b"late")
    made = Kernel(tmp_path, ZERO_OPEN)
    yield made
    made.close()


def test_unknown_requests_are_not_implemented_and_counted_where_they_have_a_number(kernel: Kernel) -> None:
    assert kernel.ask(62)[0] == errno.ENOSYS
    assert kernel.ask(4096)[0] == errno.ENOSYS
    assert kernel.shared.requests() == {"62": 1}


def test_open_opendir_and_flush_are_not_implemented_so_that_the_kernel_does_without(kernel: Kernel) -> None:
    for opcode in (Opcode.OPEN, Opcode.OPENDIR, Opcode.FLUSH, Opcode.ACCESS, Opcode.STATX, Opcode.LSEEK):
        assert kernel.ask(opcode, b"\0" * 48)[0] == errno.ENOSYS


def test_a_kernel_that_cannot_do_without_gets_its_open(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    for opcode in (Opcode.OPEN, Opcode.OPENDIR):
        error, said = kernel.ask(opcode, b"\0" * 8)
        assert (error, len(said)) == (0, 16)
    assert kernel.ask(Opcode.RELEASE, b"\0" * 24)[0] == 0
    assert kernel.ask(Opcode.RELEASEDIR, b"\0" * 24)[0] == 0
    kernel.close()


def test_writes_are_refused_and_ioctl_is_no_terminal(kernel: Kernel) -> None:
    for opcode in wire.WRITES:
        assert kernel.ask(opcode, b"\0" * 64)[0] == errno.EROFS
    assert kernel.ask(Opcode.IOCTL, b"\0" * 32)[0] == errno.ENOTTY


def test_forgetting_is_not_answered(kernel: Kernel) -> None:
    kernel.send(Opcode.FORGET, b"\0" * 8)
    kernel.send(Opcode.BATCH_FORGET, b"\0" * 24)
    assert kernel.ask(Opcode.STATFS)[0] == 0


def test_a_read_is_answered_with_its_bytes_and_clipped_at_the_end(kernel: Kernel) -> None:
    read = wire.READ_IN.pack(0, 1, 4096) + b"\0" * 20
    assert kernel.ask(Opcode.READ, read, kernel.node("a")) == (0, b"ytes")
    assert kernel.ask(Opcode.READ, wire.READ_IN.pack(0, 5, 4096) + b"\0" * 20, kernel.node("a")) == (0, b"")


def test_an_interrupt_ends_the_wait_of_one_request_and_of_no_other(kernel: Kernel) -> None:
    read = wire.READ_IN.pack(0, 0, 4096) + b"\0" * 20
    first = kernel.send(Opcode.READ, read, kernel.node("held-1"))
    second = kernel.send(Opcode.READ, read, kernel.node("held-1"))
    kernel.send(Opcode.INTERRUPT, wire.INTERRUPT_IN.pack(first))
    assert kernel.receive() == (first, errno.EINTR, b"")
    kernel.send(Opcode.INTERRUPT, wire.INTERRUPT_IN.pack(first))
    kernel.driver.submit(kernel.vfs.release)
    assert kernel.receive() == (second, 0, b"late")


def test_requests_that_wait_do_not_change_who_is_answered_what(kernel: Kernel) -> None:
    read = wire.READ_IN.pack(0, 0, 4096) + b"\0" * 20
    waiting = [kernel.send(Opcode.READ, read, kernel.node("held-1")) for _ in range(3)]
    assert kernel.ask(Opcode.READ, read, kernel.node("a")) == (0, b"bytes")
    kernel.driver.submit(kernel.vfs.release)
    assert sorted(kernel.receive() for _ in waiting) == [(unique, 0, b"late") for unique in sorted(waiting)]


def test_a_request_asked_again_is_answered_under_the_unique_it_came_with(kernel: Kernel) -> None:
    again = 2 | wire.FUSE_UNIQUE_RESEND
    kernel.send(Opcode.READ, wire.READ_IN.pack(0, 0, 9) + b"\0" * 20, kernel.node("a"), unique=again)
    assert kernel.receive() == (again, 0, b"bytes")


def test_a_successor_has_the_kernel_ask_again_where_it_can(tmp_path: Path) -> None:
    for flags, asks in ((int(Init.HAS_RESEND), True), (0, False)):
        kernel = Kernel(tmp_path, flags, resend=True)
        if asks:
            assert kernel.receive() == (0, -int(Notify.RESEND), b"")
        assert kernel.ask(Opcode.STATFS)[0] == 0
        kernel.close()


@pytest.mark.logs_traceback
def test_a_fault_ends_its_request_and_not_the_loop(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.READLINK, b"", 12345)[0] == errno.EIO            # KeyError in the vfs
    assert kernel.ask(Opcode.STATFS)[0] == 0


def test_a_block_that_is_cut_short_is_an_error_never_a_short_read(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"b")       # behind the back of the vfs, which knows five bytes
    read = wire.READ_IN.pack(0, 0, 4096) + b"\0" * 20
    assert kernel.ask(Opcode.READ, read, kernel.node("a"))[0] == errno.EIO


def test_what_cannot_be_read_without_waiting_is_read_by_a_thread(kernel: Kernel) -> None:
    with open("/proc/version", "rb") as file:    # procfs does not know RWF_NOWAIT
        truth = file.read()
        node = kernel.node("a")
        found = kernel.vfs.nodes[node]
        found.attr = msgspec.structs.replace(found.attr, size_bytes=len(truth))
        kernel.vfs.fds[node] = os.dup(file.fileno())
        read = wire.READ_IN.pack(0, 0, 4096) + b"\0" * 20
        assert kernel.ask(Opcode.READ, read, node) == (0, truth)
        read = wire.READ_IN.pack(0, 7, 9) + b"\0" * 20
        assert kernel.ask(Opcode.READ, read, node) == (0, truth[7:16])


def test_a_quick_disk_is_read_by_the_loop_while_nobody_else_wants_something(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bytes")
    failed: list[tuple[int, int]] = []
    answered: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    readers = Readers(lambda *of: answered.put((of[0], bytes(of[1]))), lambda *of: failed.append(of), 4096)
    readers.start()
    assert not readers.quick, "nobody knows yet"
    with (tmp_path / "a").open("rb") as file:
        piece = Piece(file.fileno(), 1, 3)
        for unique in range(100):
            readers.submit(unique, [piece, piece])
            assert answered.get(timeout=10) == (unique, b"yteyte")
    readers.stop()
    assert not failed
    readers.took(0.0)
    for _ in range(50):
        readers.took(0.0001)
    assert readers.quick
    readers.took(0.01)
    assert not readers.quick


def test_names_that_are_not_utf_8_do_not_exist_and_foreign_xattrs_are_not_supported(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.LOOKUP, b"\xff\0")[0] == errno.ENOENT
    size = wire.GETXATTR_IN.pack(0)
    assert kernel.ask(Opcode.GETXATTR, size + b"security.capability\0")[0] == errno.EOPNOTSUPP
    assert kernel.ask(Opcode.GETXATTR, size + b"user.none\0")[0] == errno.ENODATA


def test_the_loop_is_not_silent_once_it_has_answered(kernel: Kernel) -> None:
    assert kernel.ask(Opcode.STATFS)[0] == 0
    assert kernel.ask(Opcode.STATFS)[0] == 0
    assert kernel.shared.silent_s() < 5.0


class Handshake:
    """A kernel that sends INIT and reads the answer."""

    def __init__(self) -> None:
        self.end, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.settimeout(10.0)

    def init(self, major: int, minor: int, flags: int) -> None:
        body = wire.INIT_IN.pack(major, minor, 1 << 20, flags & 0xFFFFFFFF, flags >> 32)
        self.end.send(wire.IN_HEADER.pack(40 + len(body), Opcode.INIT, 2, 0, 0, 0, 0, 0, 0) + body)

    def answer(self) -> tuple[int, ...]:
        return wire.INIT_REPLY.unpack(self.end.recv(4096))

    def close(self) -> None:
        self.end.close()
        self.device.close()


@pytest.fixture
def shaking() -> Iterator[Handshake]:
    made = Handshake()
    yield made
    made.close()


OFFERED = (1 << 43) - 1


def test_what_is_agreed_is_what_both_can_and_never_async_read(shaking: Handshake) -> None:
    shaking.init(7, 45, OFFERED)
    agreed = handshake.negotiate(shaking.device.fileno())
    said = shaking.answer()
    assert said[3:5] == (7, 45)
    assert said[6] | said[13] << 32 == agreed.flags
    assert not agreed.flags & (Init.ASYNC_READ | Init.PASSTHROUGH)
    assert agreed.no_open
    assert agreed.no_opendir
    assert agreed.resend
    assert agreed.inc_epoch
    assert (agreed.io, agreed.max_read_bytes, said[11]) == ("cache", 1 << 20, 256)
    assert Negotiated.from_json(agreed.to_json()) == agreed


def test_an_older_kernel_gets_what_it_knows(shaking: Handshake) -> None:
    shaking.init(7, 31, int(Init.MAX_PAGES | Init.NO_OPEN_SUPPORT))
    agreed = handshake.negotiate(shaking.device.fileno())
    assert agreed.flags == Init.MAX_PAGES | Init.NO_OPEN_SUPPORT
    assert not agreed.resend
    assert not agreed.no_opendir
    assert not agreed.inc_epoch


def test_a_newer_major_is_asked_to_come_down(shaking: Handshake) -> None:
    shaking.init(8, 0, 0)
    shaking.init(7, 45, OFFERED)
    assert handshake.negotiate(shaking.device.fileno()).minor == 45
    assert shaking.answer()[3] == 7
    assert shaking.answer()[3] == 7


def test_passthrough_that_is_not_to_be_had_is_cache_with_a_note(shaking: Handshake) -> None:
    shaking.init(7, 45, OFFERED & ~Init.PASSTHROUGH)
    agreed = handshake.negotiate(shaking.device.fileno(), io="passthrough")
    assert agreed.io == "cache"
    assert "passthrough" in agreed.note


def test_no_init_and_an_old_kernel_are_said(shaking: Handshake) -> None:
    with pytest.raises(NoFuse, match="no INIT"):
        handshake.negotiate(shaking.device.fileno(), timeout_s=0.01)
    shaking.init(7, 27, 0)
    with pytest.raises(NoFuse, match="fusepy"):
        handshake.negotiate(shaking.device.fileno())
    head = wire.IN_HEADER.pack(40, Opcode.STATFS, 2, 1, 0, 0, 0, 0, 0)
    os.write(shaking.end.fileno(), head)
    with pytest.raises(NoFuse, match="serves this"):
        handshake.negotiate(shaking.device.fileno())
