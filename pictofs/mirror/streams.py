"""Fetches archives ahead of who reads them in order, as `sequence` decides."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import EXPORT_BLOCK_BYTES, Kind, node_kind, node_pk
from pictofs.errors import PictofsError
from pictofs.link.messages import Priority, Read, Want
from pictofs.mirror.access import Membership
from pictofs.mirror.allowance import Allowance
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.sequence import LONGEST_WINDOW, Sequences
from pictofs.mirror.troubles import Troubles

ROWS_S = 1.0                # how old the row of an archive may be here
CROWDED_BLOCKS = 32         # the longest window when the store has no room: the spill holds it for a moment


class Streams:
    """Told of every read of an archive. Lives in one event loop. `spare_bytes` is the room in the store."""

    def __init__(
        self,
        reader: CatalogReader,
        fetcher: Fetcher,
        allowance: Allowance,
        spare_bytes: Callable[[], int],
        troubles: Troubles,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._fetcher = fetcher
        self._allowance = allowance
        self._spare_bytes = spare_bytes
        self._troubles = troubles
        self._clock = clock
        self._sequences = Sequences()
        self._rows: dict[int, tuple[int, int, float]] = {}  # node → organization, blocks, believed until

    def missed(self, member: Membership, want: Want) -> None:
        """Somebody waits for blocks of an archive."""
        if want.priority == Priority.DEMAND and want.node & 0xFF == Kind.EXPORT:
            self._seen(member, want.node, want.pid, want.first, want.last)

    def read(self, members: Mapping[int, Membership], message: Read) -> None:
        """Somebody has read what was here."""
        if message.node & 0xFF != Kind.EXPORT or message.size_bytes <= 0:
            return
        organization, _ = self._row(message.node)
        member = members.get(organization)
        if member is not None:
            last = (message.offset + message.size_bytes - 1) // EXPORT_BLOCK_BYTES
            self._seen(member, message.node, message.pid, message.offset // EXPORT_BLOCK_BYTES, last)

    def _seen(self, member: Membership, node: int, pid: int, first: int, last: int) -> None:
        _, count = self._row(node)
        if member.policy.prefetch == "off" or not count:
            return
        longest = LONGEST_WINDOW
        if self._spare_bytes() < LONGEST_WINDOW * EXPORT_BLOCK_BYTES:
            longest = CROWDED_BLOCKS
        ahead = self._sequences.seen(node, pid, first, last, count, longest)
        left_bytes = self._allowance.left_bytes(ahead=True)
        if not ahead or (left_bytes is not None and left_bytes < len(ahead) * EXPORT_BLOCK_BYTES):
            return
        want = Want(0, node, ahead.start, ahead.stop - 1, Priority.LOOK_AHEAD)
        self._fetcher.want(member, want, self._ended, _nobody)

    def _ended(self, error: PictofsError | None) -> None:
        if error is not None:
            self._troubles.note(f"ahead of need: {error}")

    def _row(self, node: int) -> tuple[int, int]:
        """(organization, blocks) of an archive; 0 blocks of one that is gone, of unknown size or all here."""
        now_s = self._clock()
        known = self._rows.get(node)
        if known is None or now_s >= known[2]:
            if len(self._rows) > 1000:
                self._rows.clear()
            row = self._reader.export(node_pk(node)) if node_kind(node) is Kind.EXPORT else None
            dataset = self._reader.dataset(row.dataset) if row else None
            gone = row is None or dataset is None or row.gone
            count = 0 if gone or row is None else -(-(row.size_bytes or 0) // EXPORT_BLOCK_BYTES)
            if count and row is not None and self._reader.whole(node, row.size_bytes):
                count = 0  # there is nothing to come ahead of
            known = self._rows[node] = (dataset.organization if dataset else 0, count, now_s + ROWS_S)
        return known[0], known[1]


def _nobody() -> None:
    """Nobody waits for what is fetched ahead."""
