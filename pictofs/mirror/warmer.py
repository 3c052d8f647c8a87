"""`pictofs warm`: files that somebody wants to be here, with an answer for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from pictofs.catalog import CatalogReader
from pictofs.catalog.model import Kind, block_bytes, node_kind, node_pk
from pictofs.errors import PictofsError, UsageError
from pictofs.link.messages import Priority, Want
from pictofs.mirror.access import Membership
from pictofs.mirror.fetch import Fetcher
from pictofs.mirror.flight import Claim
from pictofs.mirror.locate import organization
from pictofs.mirror.prefetch import Prefetch
from pictofs.mirror.singleflight import Progress
from pictofs.mirror.writer import Writer


class Warmer:
    """Fetches and evicts files by name. `release` drops blocks, in the writer's thread."""

    def __init__(
        self,
        reader: CatalogReader,
        fetcher: Fetcher,
        prefetch: Prefetch,
        writer: Writer,
        release: Callable[[Sequence[int]], None],
    ) -> None:
        self._reader = reader
        self._fetcher = fetcher
        self._prefetch = prefetch
        self._writer = writer
        self._release = release

    async def warm(
        self, members: Sequence[Membership], nodes: Sequence[int], moved: Progress
    ) -> dict[str, Any]:
        """Returns when each is here or has failed. UsageError for a node of nobody's."""
        of_organization = {member.organization: member for member in members}
        known: dict[int, int] = {}
        lacking: list[tuple[Membership, int]] = []
        for node in nodes:
            member = of_organization.get(organization(self._reader, node, known))
            if member is None:
                raise UsageError("what is to be fetched is not served by a mount of this cache directory")
            if not self._reader.whole(node):
                lacking.append((member, node))
        for member in {id(member): member for member, _ in lacking}.values():
            images = [node_pk(n) for m, n in lacking if m is member and node_kind(n) is Kind.IMAGE]
            self._prefetch.carry(member, images)
        ended = await asyncio.gather(*(self._bring(member, node, moved) for member, node in lacking))
        failed = [
            [node, str(error)] for (_, node), error in zip(lacking, ended, strict=True) if error is not None
        ]
        size_bytes = sum(
            self._reader.size_bytes(node) or 0
            for (_, node), error in zip(lacking, ended, strict=True) if error is None
        )  # fmt: skip
        return {"fetched": len(lacking) - len(failed), "bytes": size_bytes, "failed": failed}

    async def evict(self, nodes: Sequence[int]) -> dict[str, Any]:
        """Drops their blocks."""
        held = [node for node in nodes if self._reader.block(node, 0) is not None]
        await self._writer.run(lambda: self._release(held))
        return {"evicted": sum(self._reader.block(node, 0) is None for node in held)}

    async def _bring(self, member: Membership, node: int, moved: Progress) -> PictofsError | None:
        """Every block; the second time round those of a file whose size was not known before."""
        for _ in range(2):
            size_bytes = self._reader.size_bytes(node)
            last = max(0, (size_bytes or 1) - 1) // block_bytes(node_kind(node))
            error = await self._want(member, Want(0, node, 0, last, Priority.FILL), moved)
            if error is not None or self._reader.whole(node):
                return error
        return None

    async def _want(self, member: Membership, want: Want, moved: Progress) -> PictofsError | None:
        future: asyncio.Future[PictofsError | None] = asyncio.get_running_loop().create_future()

        def ended(error: PictofsError | None) -> None:
            if not future.done():
                future.set_result(error)
            moved()

        claim: Claim | None = self._fetcher.want(member, want, ended, moved)
        try:
            return await future
        except asyncio.CancelledError:
            if claim is not None:
                self._fetcher.cancel(claim)
            raise
