"""Invalidation: told once, held back where it would stop others, over when asked."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

import pytest

from pictofs.drivers.kernel import wire
from pictofs.drivers.kernel.notifier import EPOCH_ENTRIES, Notifier
from pictofs.drivers.kernel.wire import Notify


class Kernel:
    """The receiving end: /dev/fuse takes one notification a write, so does a packet pipe."""

    def __init__(self) -> None:
        self.out, self.fd = os.pipe2(os.O_DIRECT)
        self.busy: dict[int, int] = {}
        self.now_s = 0.0

    def next(self, timeout_s: float = 10.0) -> tuple[int, bytes] | None:
        if not select.select([self.out], [], [], timeout_s)[0]:
            return None
        packet = os.read(self.out, 4096)
        length, code, unique = wire.OUT_HEADER.unpack_from(packet)
        assert (length, unique) == (len(packet), 0)
        return code, packet[16:]

    def notifier(self, inc_epoch: bool = True) -> Notifier:
        made = Notifier(self.fd, inc_epoch=inc_epoch, busy=self.busy, clock=lambda: self.now_s)
        made.start()
        return made


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    made = Kernel()
    yield made
    os.close(made.out)
    os.close(made.fd)


def test_names_and_nodes_are_told(kernel: Kernel) -> None:
    notifier = kernel.notifier()
    notifier.changed([(5, "ü")], [9])
    assert kernel.next() == (Notify.INVAL_INODE, wire.inval_inode(9)[16:])
    assert kernel.next() == (Notify.INVAL_ENTRY, wire.inval_entry(5, "ü".encode())[16:])
    notifier.stop()


def test_attributes_only_so_that_no_page_is_waited_for(kernel: Kernel) -> None:
    notifier = kernel.notifier()
    notifier.changed([], [9])
    told = kernel.next()
    assert told is not None
    assert wire.INVAL_INODE.unpack(b"\0" * 16 + told[1])[4] == -1
    notifier.stop()


def test_a_directory_where_somebody_waits_is_told_when_he_is_answered(kernel: Kernel) -> None:
    kernel.busy[5] = 1
    notifier = kernel.notifier()
    notifier.changed([(5, "held"), (6, "free")], [])
    assert kernel.next() == (Notify.INVAL_ENTRY, wire.inval_entry(6, b"free")[16:])
    assert kernel.next(0.2) is None
    del kernel.busy[5]
    assert kernel.next() == (Notify.INVAL_ENTRY, wire.inval_entry(5, b"held")[16:])
    notifier.stop()


def test_it_is_told_all_the_same_when_that_takes_too_long(kernel: Kernel) -> None:
    kernel.busy[5] = 1
    notifier = kernel.notifier()
    notifier.changed([(5, "held")], [])
    assert kernel.next(0.2) is None
    kernel.now_s = 31.0
    assert kernel.next() == (Notify.INVAL_ENTRY, wire.inval_entry(5, b"held")[16:])
    notifier.stop()


@pytest.mark.parametrize("inc_epoch", [True, False])
def test_thousands_of_names_are_one_epoch_where_the_kernel_knows_it(kernel: Kernel, inc_epoch: bool) -> None:
    notifier = kernel.notifier(inc_epoch)
    notifier.changed([(5, str(number)) for number in range(EPOCH_ENTRIES + 1)], [])
    if inc_epoch:
        assert kernel.next() == (Notify.INC_EPOCH, b"")
        assert kernel.next(0.2) is None
    else:
        assert all(kernel.next() is not None for _ in range(EPOCH_ENTRIES + 1))
    notifier.stop()


def test_after_stop_nothing_is_told(kernel: Kernel) -> None:
    notifier = kernel.notifier()
    notifier.stop()
    notifier.changed([(5, "a")], [6])
    assert kernel.next(0.2) is None
