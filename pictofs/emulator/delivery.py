"""How an answer goes over the wire when a fault strikes it: steps as data, and one performer.

`steps` turns the bytes of a true answer into what is sent, held back or cut; `perform` does it on an asyncio
transport, of uvicorn or our own. After a struck answer the connection always ends, so nothing is left
half-said on it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from pictofs.emulator.faults import Fault

_SLICES_PER_S = 20  # a slow answer comes in this many pieces a second
_LINGER_0 = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Send:
    """Send these bytes, at `bytes_per_s` where that is set."""

    data: bytes
    bytes_per_s: float | None = None


@dataclass(frozen=True)
class Silence:
    """Say nothing for so long; None is until the other side or the fault goes away."""

    seconds: float | None


@dataclass(frozen=True)
class Close:
    """End the connection in order (FIN)."""


@dataclass(frozen=True)
class Reset:
    """Break the connection (RST)."""


Step = Send | Silence | Close | Reset


def steps(fault: Fault, head: bytes, body: bytes) -> list[Step]:
    """What becomes of an answer of this head and body."""
    values = fault.values
    match fault.kind:
        case "reset":
            after = values["after_bytes"]
            return [Send(head + body[:after]), Reset()] if after else [Reset()]
        case "truncate":
            after = values["after_bytes"] if values["after_bytes"] is not None else len(body) // 2
            return [Send(head + body[: min(after, max(0, len(body) - 1))]), Close()]
        case "stall":
            after = values["after_bytes"]
            rest: list[Step] = [Send(body[after:])] if values["seconds"] is not None else []
            return [Send(head + body[:after]), Silence(values["seconds"]), *rest, Close()]
        case "slow":
            return [Send(head), Send(body, values["bytes_per_s"]), Close()]
        case "corrupt":
            if not body:
                return [Send(head), Close()]
            at = (values["offset"] if values["offset"] is not None else len(body) // 2) % len(body)
            return [Send(head + body[:at] + bytes([body[at] ^ 0xFF]) + body[at + 1 :]), Close()]
    raise ValueError(f"{fault.kind} is no fault of the wire")


async def perform(
    transport: asyncio.Transport,
    plan: Sequence[Step],
    lifted: Callable[[], bool],
    sent: Callable[[int], None],
) -> None:
    """Carry the steps out; `lifted` ends an endless silence, `sent` counts bytes."""
    for step in plan:
        if transport.is_closing():
            return
        match step:
            case Send(data, None):
                transport.write(data)
                sent(len(data))
            case Send(data, rate):
                assert rate is not None
                await _send_slowly(transport, data, rate, sent)
            case Silence(seconds):
                await _silence(transport, seconds, lifted)
            case Close():
                transport.close()
            case Reset():
                await _flushed(transport)
                reset(transport)


async def _send_slowly(
    transport: asyncio.Transport, data: bytes, bytes_per_s: float, sent: Callable[[int], None]
) -> None:
    piece = max(1, int(bytes_per_s / _SLICES_PER_S))
    for start in range(0, len(data), piece):
        if transport.is_closing():
            return
        part = data[start : start + piece]
        transport.write(part)
        sent(len(part))
        await asyncio.sleep(len(part) / bytes_per_s)


async def _silence(transport: asyncio.Transport, seconds: float | None, lifted: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    while not transport.is_closing() and not lifted():
        left = 0.05 if end is None else min(0.05, end - loop.time())
        if left <= 0:
            return
        await asyncio.sleep(left)


async def _flushed(transport: asyncio.Transport) -> None:
    # What was promised before the break must have left; a peer that does not read may hold it up for 1 s.
    for _ in range(100):
        if transport.is_closing() or transport.get_write_buffer_size() == 0:
            return
        await asyncio.sleep(0.01)


def reset(transport: asyncio.Transport) -> None:
    """Close with RST, unsent bytes thrown away."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()


def head_of(status: int, headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> bytes:
    """Status line and header lines, ended by an empty line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")
