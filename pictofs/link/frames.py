"""Bytes of a stream ↔ frames: a four-byte big-endian length, then one message.

Pure: no socket is touched here. The limit is checked before anything is buffered for a frame, so that a
confused peer costs no memory.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar

import msgspec

from pictofs.link.messages import FRAME_LIMIT_BYTES

T = TypeVar("T")
_LENGTH = struct.Struct(">I")
_encode = msgspec.msgpack.Encoder().encode


class LinkLost(ConnectionError):
    """The other process is not there (any more), or what it says is not a frame of ours."""


def pack(message: object) -> bytes:
    """One frame; ValueError when the message is larger than a frame may be."""
    body = _encode(message)
    if len(body) > FRAME_LIMIT_BYTES:
        raise ValueError(f"a message of {len(body)} bytes exceeds the frame limit of {FRAME_LIMIT_BYTES}")
    return _LENGTH.pack(len(body)) + body


class Frames(Generic[T]):
    """Collects the bytes of one direction of one connection and gives whole messages.

    `accepted` is the union of message classes that this end understands.
    """

    def __init__(self, accepted: Any) -> None:
        self._decode = msgspec.msgpack.Decoder(accepted).decode
        self._held = bytearray()

    @property
    def lacking_bytes(self) -> int:
        """How many more bytes the next message needs at least: so many hold nothing of the one after it."""
        held = len(self._held)
        if held < _LENGTH.size:
            return _LENGTH.size - held
        (length,) = _LENGTH.unpack_from(self._held)
        return int(_LENGTH.size + length - held)

    def feed(self, data: bytes | memoryview) -> list[T]:
        """The messages that `data` completes, in order; LinkLost when the stream makes no sense."""
        self._held += data
        messages: list[T] = []
        start = 0
        with memoryview(self._held) as view:
            while len(view) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                if length > FRAME_LIMIT_BYTES:
                    raise LinkLost(f"a frame of {length} bytes is over the limit of {FRAME_LIMIT_BYTES}")
                end = start + _LENGTH.size + length
                if end > len(view):
                    break
                try:
                    messages.append(self._decode(view[start + _LENGTH.size : end]))
                except msgspec.MsgspecError:
                    # no detail: a message may hold a key
                    raise LinkLost("a message is not of this protocol") from None
                start = end
        del self._held[:start]
        return messages
