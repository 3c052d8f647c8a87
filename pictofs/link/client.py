"""The serving process' end of the link.

One thread (or one lock) owns a `Client`. `send` and `receive` never block: what the socket does not take
is kept and goes out with `flush` when the selector says that `fileno()` is writable. A lost connection
is told by `LinkLost`; whether and when to `connect` again is the caller's decision, and what was asked
before is forgotten by the other end. `exchange` is for commands, which have nothing else to do than wait.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from typing import Any

from pictofs.link.frames import Frames, LinkLost, pack
from pictofs.link.messages import Attached, Done, Failed, Moved, Reply, Request, Told
from pictofs.link.peer import Credentials, credentials, reachable, refuse_foreign

_RECEIVE_BYTES = 256 << 10
# more than this in one `receive` would keep the serving loop from the kernel's requests
_RECEIVE_ROUNDS = 16


class Client:
    """A connection to the fetching process that listens at `path`."""

    def __init__(self, path: str, *, connect_timeout_s: float = 5.0) -> None:
        self._path = path
        self._connect_timeout_s = connect_timeout_s
        self._socket: socket.socket | None = None
        self._frames: Frames[Reply] = Frames(Reply)
        self._unsent = bytearray()
        self._kept: list[Reply] = []
        self._ended: LinkLost | None = None
        self._id = 0
        self.peer = Credentials(0, -1)

    def connect(self) -> None:
        """Connects anew; LinkLost when nobody listens, CacheUnusable when another user does."""
        self.close()
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._connect_timeout_s)
            with reachable(self._path) as path:
                connection.connect(path)
            peer = credentials(connection)
            refuse_foreign(peer, self._path)
            connection.setblocking(False)
        except OSError as error:
            connection.close()
            reason = os.strerror(error.errno) if error.errno else "no answer"
            raise LinkLost(f"no fetching process at {self._path}: {reason}") from error
        except BaseException:
            connection.close()
            raise
        self.peer = peer
        self._socket = connection

    @property
    def connected(self) -> bool:
        """False before `connect`, and after the connection was found lost."""
        return self._socket is not None

    @property
    def wants_write(self) -> bool:
        """True while something is kept for `flush`."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The descriptor for a selector; LinkLost without a connection."""
        return self._open().fileno()

    def next_id(self) -> int:
        """A request id that this client has not used."""
        self._id += 1
        return self._id

    def send(self, message: Request) -> None:
        """Sends what the socket takes and keeps the rest; LinkLost when the other end is gone."""
        self._put(pack(message))

    def send_all(self, messages: Iterable[Request]) -> None:
        """The same with several, by one system call."""
        self._put(b"".join(map(pack, messages)))

    def _put(self, frame: bytes) -> None:
        if self._unsent:
            self._unsent += frame
            self.flush()
            return
        self._unsent += frame[self._write(frame) :]

    def flush(self) -> None:
        """Sends of what is kept as much as the socket takes."""
        while self._unsent:
            sent = self._write(self._unsent)
            if not sent:
                return
            del self._unsent[:sent]

    def receive(self) -> list[Reply]:
        """What has arrived, in order, perhaps nothing. LinkLost at the end, after everything before it."""
        messages, self._kept = self._kept, []
        for _ in range(_RECEIVE_ROUNDS):
            arrived = self._read(_RECEIVE_BYTES)
            if arrived is None:
                break
            messages += arrived
        if self._ended and not messages:
            ended = self._ended
            self.close()
            raise ended
        return messages

    def exchange(self, request: Any, timeout_s: float) -> Attached | Done | Failed | Told:
        """Sends `request` and waits for its answer.

        `timeout_s` counts without progress: a `Moved` starts it anew. What came for others before the answer
        is kept for `receive`; what comes after it is left in the socket, so that a selector sees it.
        TimeoutError when the time is up, LinkLost when the connection ends.
        """
        self.send(request)
        deadline_s = time.monotonic() + timeout_s
        while True:
            arrived = self._read(min(self._frames.lacking_bytes, _RECEIVE_BYTES))
            for message in arrived or ():
                if isinstance(message, Attached | Done | Failed | Told) and message.id == request.id:
                    return message
                if isinstance(message, Moved) and message.id == request.id:
                    deadline_s = time.monotonic() + timeout_s
                else:
                    self._kept.append(message)
            if self._ended:
                ended = self._ended
                self.close()
                raise ended
            if arrived is None:
                self._await(deadline_s)

    def close(self) -> None:
        """Closes the connection and forgets what was not sent; may be called at any time."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._frames = Frames(Reply)
        self._unsent.clear()
        self._kept = []
        self._ended = None

    def _await(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the fetching process does not answer")
        poll = select.poll()
        poll.register(self._open(), select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if any(event & select.POLLOUT for _, event in poll.poll(left_s * 1000)):
            self.flush()

    def _read(self, size_bytes: int) -> list[Reply] | None:
        """The messages that the next `size_bytes` complete; None when nothing is there, now or any more."""
        if self._ended:
            return None
        try:
            data = self._open().recv(size_bytes)
            if data:
                return self._frames.feed(data)
            self._ended = LinkLost("the fetching process has ended")
        except BlockingIOError:
            return None
        except LinkLost as error:
            if self._socket is None:
                raise
            self._ended = error
        except OSError as error:
            self._ended = LinkLost(f"the link broke: {os.strerror(error.errno or 0)}")
        return None

    def _open(self) -> socket.socket:
        if self._socket is None:
            raise LinkLost("the link is not connected")
        return self._socket

    def _write(self, data: bytes | bytearray) -> int:
        connection = self._open()
        try:
            return connection.send(data, getattr(socket, "MSG_NOSIGNAL", 0))
        except BlockingIOError:
            return 0
        except OSError as error:
            # the socket stays: what arrived before the end can still be received
            raise LinkLost(f"the link broke: {os.strerror(error.errno or 0)}") from error
