"""What the serving process tells the supervisor, and its own successor, in memory that outlives it.

One anonymous file, mapped by both, words of eight bytes:

    word            holds
    0               MAGIC, so that a successor of another layout starts afresh
    1               when the request in hand was read, CLOCK_MONOTONIC ns; 0 while the loop waits for one
    2               notifications sent
    64 … 127        requests by opcode
    128 …           rows of `opens.Opens`, four words each

Every word is written by one thread, in one store: whoever maps it sees the old value or the new one, also
when the writer is killed. There is no lock to be left behind.
"""

from __future__ import annotations

import mmap
import os
import sys
import time

from pictofs.drivers.kernel.wire import OPCODES, Opcode

MAGIC = 0x7069_6374_6F66_0001
BUSY_SINCE, NOTIFIED, REQUESTS, ROWS = 1, 2, 64, 128
ROW_WORDS = 4
OPEN_NODES = 1 << 16               # io=passthrough: nodes open at once; 2 MiB, as far as used


class Shared:
    """The mapping. Whoever creates it hands `fd` to the serving process; both may outlive the other."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, 0)
        self.words = memoryview(self._map).cast("Q")
        if self.words[0] != MAGIC:
            self._map[:] = bytes(len(self._map))
            self.words[0] = MAGIC

    @classmethod
    def create(cls) -> Shared:
        """A fresh one."""
        fd = os.memfd_create("pictofs-serving", os.MFD_CLOEXEC)
        os.ftruncate(fd, (ROWS + OPEN_NODES * ROW_WORDS) * 8)
        os.pwrite(fd, MAGIC.to_bytes(8, sys.byteorder), 0)   # zero else, and not touched: it costs no memory
        return cls(fd)

    def silent_s(self) -> float:
        """For how long the loop has been at one request; 0 while it waits for the next."""
        since_ns = self.words[BUSY_SINCE]
        return max(0.0, (time.monotonic_ns() - since_ns) / 1e9) if since_ns else 0.0

    def requests(self) -> dict[str, int]:
        """How often the kernel has asked what, since the mount began; what was never asked is left out."""
        counts = self.words[REQUESTS : REQUESTS + OPCODES]
        named = {int(opcode): opcode.name for opcode in Opcode}
        return {named.get(number, str(number)): count for number, count in enumerate(counts) if count}

    def close(self) -> None:
        """Unmap and close; the other process keeps its own."""
        self.words.release()
        self._map.close()
        os.close(self.fd)


def gone(pid: int) -> bool:
    """Has the serving process ended, though it may not be waited for yet?

    A notification that waits in the kernel for a directory's lock cannot be killed, and whoever holds the
    lock may be a LOOKUP that only a successor answers. Then the main thread is a zombie, waitpid says
    nothing, and a supervisor that waits for it waits for ever: it must start the successor first.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] in b"ZX"
    except FileNotFoundError:
        return True
