"""One budget of memory for all bytes that were asked for and are not yet in the store, whoever asked.

A block counts from when its transfer starts until it is written. What nobody waits for leaves a quarter to
readers who wait. One block always fits when nothing else is under way, however large it is.
"""

from __future__ import annotations

from pictofs.link.messages import Priority

RESERVED_SHARE = 4


class Memory:
    """Counts bytes in flight. Lives in one event loop."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.used_bytes = 0

    def fits(self, size_bytes: int, priority: Priority, *, before_bytes: int = 0) -> bool:
        """Whether so much more may be asked for now, `before_bytes` being about to be."""
        used_bytes = self.used_bytes + before_bytes
        return used_bytes == 0 or used_bytes + size_bytes <= self._limit(priority)

    def full(self, priority: Priority) -> bool:
        """Whether nothing more of this priority may be asked for now."""
        return self.used_bytes >= self._limit(priority)

    def take(self, size_bytes: int) -> None:
        """So much has been asked for; `give` must follow."""
        self.used_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        """So much has been written, or will not come."""
        self.used_bytes -= size_bytes

    def _limit(self, priority: Priority) -> int:
        reserved = 0 if priority is Priority.DEMAND else self._limit_bytes // RESERVED_SHARE
        return self._limit_bytes - reserved
