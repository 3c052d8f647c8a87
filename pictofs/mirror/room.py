"""What is kept, what must go, and what cannot be kept at all. Runs in the writer's thread.

    a block arrives ──▶ store.put ──▶ catalog row, path under store/
                          │ no room: evict by the store's policy, and put again
                          │ still none, or the disk fails
                          └──────────▶ spill: a file under tmp/, catalog row as for any block; dropped again
                                       when SPILL_S are over or the spill is full, the oldest first. It takes
                                       half of what the disk has left at most: the catalog lives there too

A row leaves the catalog before its file goes, so that nobody is sent to a file that is not there; a reader
who was faster with the row than with the file wants the block again. Spills left by a killed process go at
the next start, before the catalog is served.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence

from pictofs.catalog import JOINED, Catalog
from pictofs.catalog.arrivals import Arrival
from pictofs.catalog.model import SPILL, BlockAge, BlockRow, node_pk
from pictofs.errors import CacheFull, CacheUnusable, PictofsError, TransferError
from pictofs.mirror.plan import Fetch
from pictofs.mirror.versions import Seen, Superseded, same, settle_image
from pictofs.mirror.writer import Block
from pictofs.store import Store, Written, victims

_log = logging.getLogger(__name__)
SPILL_S = 30.0
SPILL_BYTES = 256 << 20
# A file that gives its place to spills and to the catalog's log when nothing else is left of a full disk.
RESERVE_BYTES = 16 << 20
_RESERVE = "reserve"
AGE_PAGES = 16
PAGE_BLOCKS = 1000
# Evicting a little more than is needed spares the next blocks the same search.
EXTRA_SHARE = 256
EXTRA_BYTES = 16 << 20
# A block that came just now has a reader on its way to it.
FRESH_S = 10


class Room:
    """Stores the blocks of one cache directory and makes room for them.

    `boot` is the catalog's index of this boot of the machine.
    """

    def __init__(
        self,
        cache_dir: str,
        catalog: Catalog,
        store: Store,
        boot: int,
        *,
        spill_bytes: int = SPILL_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._cache_dir = cache_dir
        self._catalog = catalog
        self._store = store
        self.boot = boot
        self._spill_bytes = spill_bytes
        self._reserve_bytes = reserve_bytes
        self._clock = clock
        self._wall_s = wall_s
        self._spilled: OrderedDict[Fetch, tuple[str, int, float]] = OrderedDict()  # path, bytes, since
        self._ordinal = 0

    def open(self) -> None:
        """Empties the spill of an earlier process and sets the reserve aside. OSError without a tmp/."""
        folder = os.path.join(self._cache_dir, SPILL)
        os.makedirs(folder, 0o700, exist_ok=True)
        for entry in os.scandir(folder):
            if entry.name != _RESERVE:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        self._set_reserve()
        if self._store.short_bytes(0) > 0:
            self._evict(0)

    def keep(self, blocks: Sequence[Block]) -> list[BlockRow | BaseException]:
        """Stores blocks and enters them in the catalog in one go; for each its row, or why there is none.

        Superseded for bytes that turn out to be of another version than their node's: they are not kept.
        The file of a `Written` one is gone afterwards, unless there is no row.
        """
        plain = self._plain(blocks)
        together = self._put_many(blocks, plain)
        answers: list[BlockRow | BaseException] = []
        for at, block in enumerate(blocks):
            try:
                if at in together:
                    answers.append(together[at])
                    continue
                if at not in plain:
                    self._settle(block)
                answers.append(self._put(block.loaded()))
            except PictofsError as error:
                answers.append(error)
        rows = [
            (answer, block.seen if at in plain else None)
            for at, (answer, block) in enumerate(zip(answers, blocks, strict=True))
            if isinstance(answer, BlockRow)
        ]
        try:
            self._enter(rows)
        except PictofsError as error:
            for row, _ in rows:
                self._store.drop(row.node, row.block)
            return [error if isinstance(answer, BlockRow) else answer for answer in answers]
        return answers

    def _plain(self, blocks: Sequence[Block]) -> set[int]:
        """Which of these are of the version that their node has now: nothing about it is to be settled."""
        settled = {at for at, block in enumerate(blocks) if block.seen is None}
        images = [node_pk(block.node) for block in blocks if block.seen is not None]
        known = self._catalog.versions_at(images) if images else {}
        return settled | {
            at
            for at, block in enumerate(blocks)
            if block.seen is not None
            and (version := known.get(node_pk(block.node))) is not None
            and version[0] is not None
            and same(*version, block.seen)
        }

    def _put_many(self, blocks: Sequence[Block], plain: set[int]) -> dict[int, BlockRow]:
        """The plain ones, in files and in memory each in one go; none when that cannot be."""
        found: dict[int, BlockRow] = {}
        chosen = {(blocks[at].node, blocks[at].block): at for at in plain}.values()
        files = [(at, body) for at in chosen if isinstance(body := blocks[at].body, Written)]
        bodies = [(at, body) for at in chosen if not isinstance(body := blocks[at].body, Written)]
        stored: list[tuple[int, str]] = []
        if files:
            paths = self._store.adopt_many([
                (blocks[at].node, blocks[at].block, body.path, len(body), blocks[at].crc32c)
                for at, body in files
            ])  # fmt: skip
            stored += zip((at for at, _ in files), paths or (), strict=paths is not None)
        if len(bodies) > 1:
            paths = self._store.put_many(
                [(blocks[at].node, blocks[at].block, body, blocks[at].crc32c) for at, body in bodies]
            )
            stored += zip((at for at, _ in bodies), paths or (), strict=paths is not None)
        for at, path in stored:
            block = blocks[at]
            found[at] = BlockRow(block.node, block.block, path, len(block.body), block.crc32c, self.boot)
        return found

    def recheck(self, fetch: Fetch) -> bool:
        """A reader lost a block, or it is of an earlier boot: True when it is whole, else it is dropped."""
        row = self._catalog.block(fetch.node, fetch.block)
        if row is None:
            return False
        fetch = Fetch(fetch.node, row.block)
        if not row.path.startswith(SPILL) and self._store.verify(fetch.node, fetch.block, row.crc32c):
            path = self._store.path(fetch.node, fetch.block)
            if path == row.path:
                self._catalog.verify_blocks([fetch], self.boot)
                return True
        self._catalog.drop_block(fetch.node, fetch.block)
        self._remove([fetch])
        return False

    def forget(self, node: int) -> None:
        """Drops every block of a node."""
        blocks = [Fetch(node, row.block) for row in self._catalog.blocks(node)]
        self._catalog.drop_blocks(node)
        self._remove(blocks)

    def drop(self, blocks: Sequence[Fetch]) -> None:
        """Drops blocks that turned out wrong, and the files that they were joined in."""
        joined = {fetch.node for fetch in blocks if self._catalog.joined(fetch.node)}
        wrong = [*blocks, *(Fetch(node, JOINED) for node in joined)]
        self._catalog.drop_each(wrong)
        self._remove(wrong)

    def release(self, nodes: Sequence[int]) -> None:
        """Drops the blocks of nodes that have no use left; nothing while anything is pinned."""
        if self._catalog.pinned():
            return
        blocks = [Fetch(node, row.block) for node in nodes for row in self._catalog.blocks(node)]
        self._catalog.drop_each(blocks)
        self._remove(blocks)

    def enforce(self) -> int:
        """Evicts until the limits hold, or nothing more may go; the bytes that went."""
        before_bytes = self._store.bytes
        while self._store.short_bytes(0) > 0:
            held_bytes = self._store.bytes
            self._evict(0)
            if self._store.bytes >= held_bytes:
                break
        return before_bytes - self._store.bytes

    def touch(self, blocks: Iterable[Fetch]) -> None:
        """Readers were seen on these blocks."""
        self._catalog.touch_blocks(blocks)

    def spare_bytes(self) -> int:
        """How much more may be stored before something must go; from any thread."""
        return -self._store.short_bytes(0)

    def sweep_spill(self) -> None:
        """Drops spills whose time is over, and sets the reserve aside again when there is room."""
        now_s = self._clock()
        over = [fetch for fetch, (_, _, since_s) in self._spilled.items() if now_s - since_s >= SPILL_S]
        self._unspill(over)
        self._set_reserve()

    @property
    def spilled_bytes(self) -> int:
        """What lies in the spill."""
        return sum(size_bytes for _, size_bytes, _ in self._spilled.values())

    def _settle(self, block: Block) -> None:
        if block.seen is not None:
            settled = settle_image(self._catalog, node_pk(block.node), block.seen)
            if settled.stale:
                raise Superseded(settled)

    def _put(self, block: Block) -> BlockRow:
        assert not isinstance(block.body, Written)
        path: str | None = None
        for evicted in (False, True):
            try:
                path = self._store.put(block.node, block.block, block.body, block.crc32c)
                break
            except CacheFull as full:
                if evicted or not self._evict(len(block.body), full.need_bytes):
                    break
        if path is None:
            path = self._spill(block)
        return BlockRow(block.node, block.block, path, len(block.body), block.crc32c, self.boot)

    def _enter(self, rows: list[tuple[BlockRow, Seen | None]]) -> None:
        if not rows:
            return
        try:
            self._write_down(rows)
        except PictofsError:
            kept = {Fetch(row.node, row.block) for row, _ in rows}
            if not self._give_way(kept):
                raise
            self._write_down(rows)

    def _write_down(self, rows: list[tuple[BlockRow, Seen | None]]) -> None:
        """Plain ones by the batch; the others, and what the catalog leaves of those, one by one."""
        arrivals = [
            Arrival(row, seen.generation, seen.md5, seen.crc32c) for row, seen in rows if seen is not None
        ]
        left = self._catalog.put_arrivals(arrivals)
        for arrival in left:
            size_bytes = self._catalog.size_bytes(arrival.row.node)
            if size_bytes is not None:
                self._catalog.put_image_truth(
                    node_pk(arrival.row.node), size_bytes, arrival.generation, arrival.md5, arrival.crc32c
                )
        self._catalog.put_blocks([row for row, seen in rows if seen is None] + [each.row for each in left])

    def _evict(self, size_bytes: int, need_bytes: int | None = None) -> bool:
        """Makes room for `size_bytes` by the policy; False when nothing may go."""
        need_bytes = self._store.short_bytes(size_bytes) if need_bytes is None else need_bytes
        extra_bytes = min(self._store.limit_bytes // EXTRA_SHARE, EXTRA_BYTES)
        wanted = need_bytes + (extra_bytes if extra_bytes > need_bytes else 0)
        policy = self._store.eviction
        if self._store.short_bytes(0) > 0 and policy == "epoch":
            # The limits are broken without the newcomer (they were lowered, the disk is full of others): they
            # come before keeping what is there.
            policy = "lru"
        chosen = self._choose(policy, wanted) or self._choose(policy, need_bytes)
        if not chosen:
            return False
        blocks = [Fetch(age.node, age.block) for age in chosen]
        self._catalog.drop_each(blocks)
        self._remove(blocks)  # all of them: a block without a row would be nobody's
        return self._store.short_bytes(size_bytes) <= 0

    def _choose(self, policy: str, need_bytes: int) -> list[BlockAge]:
        """Victims among the gone, then (never under `epoch`) among ever more of the blocks by age."""
        candidates = self._catalog.blocks_of_the_gone(PAGE_BLOCKS)
        chosen = victims(policy, candidates, need_bytes)
        if policy == "epoch":
            return chosen
        gone = {(age.node, age.block) for age in candidates}
        newest_s = self._wall_s() - FRESH_S
        after: BlockAge | None = None
        for _ in range(AGE_PAGES):
            if chosen:
                break
            page = self._catalog.blocks_by_age(PAGE_BLOCKS, after)
            candidates += [
                age for age in page if (age.node, age.block) not in gone and age.used_s <= newest_s
            ]
            chosen = victims(policy, candidates, need_bytes)
            if len(page) < PAGE_BLOCKS:
                break
            after = page[-1]
        return chosen

    def _spill(self, block: Block) -> str:
        """The bytes as a file of their own, for the reader that waits."""
        body = block.body
        assert not isinstance(body, Written)
        size_bytes = len(body)
        spilled_bytes = self.spilled_bytes
        room = min(self._spill_bytes, (self._store.free_bytes() + spilled_bytes) // 2) - size_bytes
        while self._spilled and self.spilled_bytes > max(0, room):
            self._unspill([next(iter(self._spilled))])
        for again in (False, True):
            self._ordinal += 1
            path = os.path.join(SPILL, f"{self._ordinal:x}.{os.urandom(4).hex()}")
            try:
                self._write(os.path.join(self._cache_dir, path), body)
            except OSError as error:
                if again or not self._give_way():
                    raise TransferError(
                        f"no room in cache_dir {self._cache_dir} for the bytes of a read ({error.strerror}): "
                        "free some disk"
                    ) from error
                continue
            fetch = Fetch(block.node, block.block)
            self._unspill([fetch] if fetch in self._spilled else [])
            self._spilled[fetch] = (path, size_bytes, self._clock())
            break
        return path

    def _write(self, path: str, body: bytes | memoryview) -> None:
        try:
            with open(path, "xb", buffering=0) as file:
                rest = memoryview(body)
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise

    def _unspill(self, fetches: Iterable[Fetch]) -> None:
        """Row first, then file; a row that has another path by now is another block's.

        Where the disk is too full to note that, the file goes all the same: a reader wants it again.
        """
        for fetch in fetches:
            path, _, _ = self._spilled.pop(fetch)
            with contextlib.suppress(CacheUnusable):
                row = self._catalog.block(fetch.node, fetch.block)
                if row is not None and row.path == path:
                    self._catalog.drop_block(fetch.node, fetch.block)
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._cache_dir, path))

    def _remove(self, blocks: Iterable[Fetch]) -> None:
        for fetch in blocks:
            if fetch in self._spilled:
                self._unspill([fetch])
            self._store.drop(fetch.node, fetch.block)

    def _set_reserve(self) -> None:
        path = os.path.join(self._cache_dir, SPILL, _RESERVE)
        if not self._reserve_bytes or self._spilled or os.path.exists(path):
            return
        try:
            free = os.statvfs(os.path.dirname(path))
            if not hasattr(os, "posix_fallocate") or free.f_bavail * free.f_frsize < 4 * self._reserve_bytes:
                return
            handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.posix_fallocate(handle, 0, self._reserve_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        finally:
            os.close(handle)

    def _give_way(self, kept: Collection[Fetch] = ()) -> bool:
        """The disk is full: lets go of the reserve, else of all spills but `kept`; False with neither."""
        try:
            os.unlink(os.path.join(self._cache_dir, SPILL, _RESERVE))
        except OSError:
            spilled = [fetch for fetch in self._spilled if fetch not in kept]
            self._unspill(spilled)
            return bool(spilled)
        _log.warning("the disk under cache_dir %s is full", self._cache_dir)
        return True
