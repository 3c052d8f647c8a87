"""A child of the fetching process that carries what nobody waits for: a fork of it that was made before any
thread, and where that one has died `python -m pictofs.mirror.carter`.

Transfers, checksums and the writing of files cost most of the CPU of a cold epoch. Here they have an
interpreter lock of their own: the fetching process' loop stays free for readers that wait, and the two run on
two cores. It is told where to write each body, knows neither catalog nor store, and ends when the
socket to its parent does; whatever was under way is then the parent's to order again.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable

import google_crc32c

from pictofs import stacks
from pictofs.errors import PictofsError, TransferError
from pictofs.link.frames import Frames, LinkLost, pack
from pictofs.mirror.freight import Connections, Order, Orders, Outcome, Report, Route, Spent, arrived, failed
from pictofs.mirror.versions import version_of
from pictofs.storage import Carrier, Got, Transfers

_RECEIVE_BYTES = 256 << 10
_DESCRIPTORS = 1024  # more than a process has open that has just begun
# What ends within so long is one message, unless it is many: each wakes up two threads of the parent. Where
# more than BUSY are under way others wait for none of these, since the next have been ordered already.
REPORT_S, BUSY_REPORT_S = 0.003, 0.012
REPORTED = 32
BUSY = 48
MOVED_S = 0.25     # what is under way for longer is told of while bytes come
# As in the fetching process: two threads that hand each other batches, and few objects that go in circles.
SWITCH_S = 0.0005
COLLECTED = 50_000
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class Carter:
    """Carries out orders. `make` gives the transfers of a route, not yet started."""

    def __init__(self, connection: socket.socket, make: Callable[[Route], Carrier]) -> None:
        self._connection = connection
        self._make = make
        self._frames: Frames[Route | Orders | Connections | Spent] = Frames(
            Route | Orders | Connections | Spent
        )
        self._routes: dict[int, Carrier] = {}
        self._lock = threading.Lock()  # guards the next; a leaf
        self._ended: list[Outcome] = []
        self._moved: dict[int, int] = {}  # order → bytes; filled by one step of the transfer thread
        self._underway = 0
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        """Until the other end is gone."""
        waiting = select.poll()
        waiting.register(self._connection, select.POLLIN)
        waiting.register(self._wake_read, select.POLLIN)
        due_s: float | None = None
        try:
            while True:
                left_s = MOVED_S if due_s is None else max(0.0, due_s - time.monotonic())
                left_ms = left_s * 1e3 if self._underway else None
                ready = {descriptor for descriptor, _ in waiting.poll(left_ms)}
                if self._connection.fileno() in ready and not self._hear():
                    return
                if self._wake_read in ready:
                    os.read(self._wake_read, 64)
                    patience_s = REPORT_S if self._underway <= BUSY else BUSY_REPORT_S
                    due_s = due_s or time.monotonic() + patience_s
                if not ready and due_s is None and self._moved:
                    due_s = 0.0
                if due_s is not None and (len(self._ended) >= REPORTED or time.monotonic() >= due_s):
                    due_s = None
                    self._report()
        except (ConnectionError, LinkLost):
            return
        finally:
            for transfers in self._routes.values():
                transfers.stop()

    def _hear(self) -> bool:
        data = self._connection.recv(_RECEIVE_BYTES)
        for message in self._frames.feed(data):
            if isinstance(message, Route):
                transfers = self._routes[message.number] = self._make(message)
                transfers.start()
            elif isinstance(message, Orders):
                for order in message.orders:
                    self._begin(order)
            elif isinstance(message, Connections):
                for transfers in self._routes.values():
                    transfers.set_connections(message.connections)
            else:
                for transfers in self._routes.values():
                    transfers.spend(message.size_bytes)
        return bool(data)

    def _begin(self, order: Order) -> None:
        def done(outcome: Got | PictofsError) -> None:
            self._done(order, outcome)

        def moved(size_bytes: int) -> None:
            self._moved[order.id] = size_bytes

        self._underway += 1
        self._routes[order.route].submit(order.get(), done, moved)

    def _done(self, order: Order, outcome: Got | PictofsError) -> None:
        """In the transfer thread."""
        if isinstance(outcome, Got):
            try:
                if order.headers is not None:
                    render(outcome)
                write(order.path, outcome.body)
                told = arrived(order.id, outcome, told=order.headers is not None)
            except OSError as error:
                told = failed(order.id, TransferError(f"cannot write what arrived: {error.strerror}"))
            except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for a word
                told = failed(order.id, TransferError(f"no use could be made of it: {type(error).__name__}"))
        else:
            told = failed(order.id, outcome)
        with self._lock:
            self._ended.append(told)
            count = len(self._ended)
        if count in (1, REPORTED):
            os.write(self._wake_write, b"!")

    def _report(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, []
        moved, self._moved = self._moved, {}
        for outcome in ended:
            moved.pop(outcome.id, None)
        self._underway -= len(ended)
        if ended or moved:
            routes = self._routes.values()
            self._connection.sendall(
                pack(
                    Report(
                        ended, sum(each.requests for each in routes),
                        sum(each.bytes_received for each in routes), moved,
                    )
                )
            )  # fmt: skip


def render(got: Got) -> None:
    """Puts the document that the mount shows in the place of the API's, its hash into `etag`."""
    # The api room brings requests along, which costs as much as this process' start: only where it is asked.
    from pictofs.api.annotations import Annotations

    got.body = Annotations.document(bytes(got.body))
    got.body_bytes = len(got.body)
    got.crc32c = google_crc32c.value(got.body)
    got.etag = version_of(got.body)


def write(path: str, body: bytes | memoryview) -> None:
    """The whole body under a path that nobody has been told of yet. OSError leaves no file."""
    handle = os.open(path, _FLAGS, 0o600)
    try:
        try:
            rest = memoryview(body)
            while rest:
                rest = rest[os.write(handle, rest) :]
        finally:
            os.close(handle)
    except OSError:
        os.unlink(path)
        raise


def main(arguments: list[str] | None = None) -> int:
    """Serves the socket with this number until it ends."""
    parser = argparse.ArgumentParser(prog="python -m pictofs.mirror.carter", description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--bandwidth", type=int, help="bytes a second")
    given = parser.parse_args(arguments)
    with socket.socket(fileno=given.fd) as connection:
        serve(connection, given.connections, given.bandwidth)
    return 0


def serve(connection: socket.socket, connections: int, bandwidth_bytes_s: int | None) -> None:
    """Carries out what comes over `connection` until that ends, in a process of its own."""
    # It ends with its parent: a signal to all of a service's processes is the parent's to answer in order.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stacks.keep_memory()
    gc.set_threshold(COLLECTED)
    sys.setswitchinterval(SWITCH_S)

    def make(route: Route) -> Carrier:
        return Transfers(
            connections=connections,
            timeout_s=route.timeout_s,
            ca_file=route.ca_file,
            proxy=route.proxy,
            bandwidth_bytes_s=bandwidth_bytes_s,
        )

    Carter(connection, make).run()


def fork_off(connections: int, bandwidth_bytes_s: int | None) -> tuple[int, socket.socket]:
    """A carter by fork, as (its pid, the parent's end of its socket).

    It is there at once and shares the memory of what was imported, where a program of its own takes 0.2 s of
    CPU to start. Only for a process that has no other thread yet. OSError.
    """
    ours, theirs = socket.socketpair()
    try:
        gc.freeze()  # what is shared stays so: the collector of neither writes to it
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return pid, ours
    code = 1
    try:
        kept = theirs.detach()
        os.closerange(3, kept)  # locks and pipes of the parent's that must end with it
        os.closerange(kept + 1, _DESCRIPTORS)
        with contextlib.suppress(OSError), open("/proc/self/comm", "w") as name:
            name.write("pictofs-carter")  # in top and pstree; its words are its parent's
        with socket.socket(fileno=kept) as connection:
            serve(connection, connections, bandwidth_bytes_s)
        code = 0
    except BaseException:  # noqa: BLE001 - the child's end, whatever it is
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
