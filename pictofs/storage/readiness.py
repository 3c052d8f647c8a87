"""Which of libcurl's sockets are ready: epoll where there is one, poll elsewhere, and a way to wake the wait.

libcurl registers its sockets through `watch`, its socket callback, which it calls about twice for each
transfer: hence no `selectors`, whose bookkeeping costs as much as the system calls.
"""

from __future__ import annotations

import os
import select
import threading
from typing import Any

import pycurl

_IN, _OUT, _ERROR = 1, 4, 8 | 16  # EPOLLIN, EPOLLOUT, EPOLLERR | EPOLLHUP; poll's are the same


class Readiness:
    """One waiting thread; `wake` may come from any."""

    def __init__(self) -> None:
        self._epoll = hasattr(select, "epoll")
        self._poll: Any = select.epoll() if self._epoll else select.poll()
        self._masks: dict[int, int] = {}
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._poll.register(self._read_end, _IN)
        self._woken = False
        # Guards the pipe's life, a leaf: a late `wake` must not write to a number that is used again.
        self._lock = threading.Lock()

    def watch(self, what: int, descriptor: int, multi: object = None, data: object = None) -> None:
        """M_SOCKETFUNCTION."""
        if what == pycurl.POLL_REMOVE:
            if self._masks.pop(descriptor, None) is not None:
                try:
                    self._poll.unregister(descriptor)
                except (OSError, KeyError):
                    pass  # closed already, which unregisters
            return
        mask = (_IN if what & pycurl.POLL_IN else 0) | (_OUT if what & pycurl.POLL_OUT else 0)
        before = self._masks.get(descriptor)
        if before == mask:
            return
        self._masks[descriptor] = mask
        try:
            if before is None:
                self._poll.register(descriptor, mask)
            else:
                self._poll.modify(descriptor, mask)
        except FileExistsError:
            self._poll.modify(descriptor, mask)
        except FileNotFoundError:
            self._poll.register(descriptor, mask)  # closed meanwhile, and its number given again

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        """Ready sockets with libcurl's CSELECT bits; empty after `timeout_s` or when woken."""
        found = []
        for descriptor, mask in self._poll.poll(timeout_s if self._epoll else timeout_s * 1000):
            if descriptor == self._read_end:
                try:
                    os.read(self._read_end, 64)
                except BlockingIOError:
                    pass
                # After the read, or a byte could be read whose waker then sleeps; and before what the waker
                # left is looked at: who comes later writes again.
                self._woken = False
                continue
            bits = pycurl.CSELECT_IN if mask & _IN else 0
            if mask & _OUT:
                bits |= pycurl.CSELECT_OUT
            if mask & _ERROR:
                bits |= pycurl.CSELECT_ERR
            found.append((descriptor, bits))
        return found

    def wake(self) -> None:
        """End the wait under way, or the next one. Thread-safe; nothing after `close`."""
        if self._woken:
            return
        self._woken = True
        with self._lock:  # the pipe does not block
            if self._write_end >= 0:
                os.write(self._write_end, b"!")

    def close(self) -> None:
        """Let go of every descriptor."""
        with self._lock:
            os.close(self._write_end)
            self._write_end = -1
        os.close(self._read_end)
        if self._epoll:
            self._poll.close()
