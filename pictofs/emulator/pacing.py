"""The storage host's bandwidth, shared by its connections in small turns."""

from __future__ import annotations

import asyncio

from pictofs.emulator.service import Switches

_SMALLEST, _TURNS_PER_S = 1024, 50


class Pace:
    """A queue in time: each piece is booked behind the last, in the order in which they are asked for."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._free_s = 0.0  # loop time from which the wire is free

    def piece(self, most: int) -> int:
        """How many bytes to ask for in one turn: less on a slow wire, so that turns stay short."""
        bandwidth = self._switches.bandwidth
        return most if not bandwidth else max(_SMALLEST, min(most, bandwidth // _TURNS_PER_S))

    async def turn(self, length_bytes: int) -> None:
        """Wait until so many bytes may go."""
        bandwidth = self._switches.bandwidth
        if not bandwidth:
            return
        now_s = asyncio.get_running_loop().time()
        self._free_s = max(now_s, self._free_s) + length_bytes / bandwidth
        await asyncio.sleep(self._free_s - now_s)
