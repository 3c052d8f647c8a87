"""From (node, offset, size) to pieces of blocks: which are here, and what is wanted otherwise."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pictofs.catalog import JOINED
from pictofs.catalog.model import BlockRow, Kind
from pictofs.link.messages import Ask, Priority, Want
from pictofs.tree import Need, Tree, key_of
from pictofs.tree.facts import File
from pictofs.tree.need import NOTHING_ASKED, Asked
from pictofs.tree.place import refuse
from pictofs.vfs.descriptors import Descriptors, Lost
from pictofs.vfs.types import Bytes, Piece

# Sizes of versions that were read lately; a version's size never changes.
FILES = 1 << 15
# A block that was fetched for us and is gone again when we look (evicted at once: the store is too small)
# is wanted so often; then the store cannot serve this reader.
MOST_WANTS = 3

_ANNOTATION = int(Kind.ANNOTATION)
Hint = Callable[[int, int, int, int, bool], None]


class Reading:
    """Reads of files by the catalog's block table and open descriptors. `hint` is told of what was here."""

    def __init__(self, tree: Tree, descriptors: Descriptors, hint: Hint) -> None:
        self._tree = tree
        self._descriptors = descriptors
        self._hint = hint
        self._files: dict[int, File] = {}
        self._hinted: tuple[int, int] = (0, 0)
        self._told = 0      # the annotation whose size was told last, while it has not been read
        self.hits = 0
        self.misses = 0
        self.bytes = 0
        self.files = 0      # whose end was read

    def read(self, node: int, offset: int, size: int, pid: int, asked: Asked) -> Bytes:
        """The bytes; raises Need(Want) for blocks that are not here, ESTALE where they will never be."""
        file = self._files.get(node)
        if file is None:
            file = self._tree.file(node, asked)
        if file.body is not None:
            return Bytes(file.body[offset : offset + size])
        end = min(offset + size, file.size_bytes)
        if offset >= end or offset < 0:
            return Bytes()
        block_bytes, within, blocks = file.block_bytes, file.offset_bytes, file.node
        begin, until = within + offset, within + end
        first, last = begin // block_bytes, (until - 1) // block_bytes
        pieces = []
        for block in range(first, last + 1):
            fd = self._descriptors.held(blocks, block)
            start = max(begin, block * block_bytes)
            if fd is None:
                fd, joined = self._open(file, block, last, asked, pid)
                if joined:
                    pieces.append(Piece(fd, start, until - start))
                    break
            stop = min(until, (block + 1) * block_bytes)
            pieces.append(Piece(fd, start - block * block_bytes, stop - start))
        if node not in self._files:
            if len(self._files) >= FILES:
                self._files.clear()     # cheaper, at every read, than to know the least recent
            self._files[node] = file
        self.bytes += end - offset
        ends = end == file.size_bytes
        mark = (blocks, -1 if ends and not within else last)
        if self._hinted != mark:
            # One hint a block and one at the end, not one a request: for what comes next and what is evicted
            # last; whoever never comes to the end of a file reads headers.
            self._hinted = mark
            self.files += ends
            if node == self._told:
                self._told = 0
            self._hint(blocks, begin, end - offset if within else size, pid, ends)
        return Bytes(b"", tuple(pieces))

    def told(self, node: int) -> None:
        """The size of a file was told.

        That of an annotation takes its body, so whoever asks for one after the other and reads none (`ls -l`,
        rsync) is followed too: each is hinted at when the next is asked for.
        """
        if node & 0xFF == _ANNOTATION:
            if self._told and self._told != node:
                self._hint(self._told, 0, 0, 0, False)
            self._told = node

    def in_one_file(self, node: int, asked: Asked) -> bool:
        """Does all of it lie in one file, once it is here? Raises Need once for what could be joined.

        What is wanted is no more than is here: many blocks that are not whole stay many.
        """
        file = self._tree.file(node, asked)
        if file.body is not None or file.node != node:
            return False    # what lies in an archive is never a file of the store
        if file.size_bytes <= file.block_bytes:
            return True
        if self._tree.joined(node) is not None:
            if not self._descriptors.holds(node, JOINED):
                self._descriptors.forget([node])    # blocks that were open before they were joined
            return True
        request = Ask(0, "join", {"nodes": [node]})
        if asked.answered(key_of(request)) or not self._tree.whole(node, file.size_bytes):
            return False
        raise Need(request)

    def forget(self, nodes: list[int]) -> None:
        """Something of these nodes is another now: a size that storage tells otherwise than the listing."""
        for node in nodes:
            self._files.pop(node, None)
        self._descriptors.forget(nodes)

    def release(self) -> None:
        """Lets go of blocks that the store has removed."""
        self._descriptors.release()

    def forget_all(self) -> None:
        """The catalog is another."""
        self._files.clear()
        self._descriptors.close()

    def _open(self, file: File, block: int, last: int, asked: Asked, pid: int) -> tuple[int, bool]:
        """The descriptor, and whether it is of all blocks, joined."""
        fd = self._descriptors.held(file.node, JOINED)
        if fd is not None:
            return fd, True
        row = self._tree.block(file.node, block)
        lost = False
        if row is not None:
            fd = self._opened(row, last, asked)
            if fd is None:
                row = self._tree.block_now(file.node, block)
                fd = None if row is None else self._opened(row, last, asked)
                lost = row is not None
            if fd is not None and row is not None:
                self.hits += 1
                return fd, row.block == JOINED
        if row is None and not file.current:
            refuse(errno.ESTALE)    # under this name are other bytes by now
        self.misses += 1
        want = Want(0, file.node, block, last, Priority.DEMAND, lost, pid)
        if asked.times.get(key_of(want), 0) >= MOST_WANTS:
            refuse(errno.EIO)
        raise Need(want)

    def _opened(self, row: BlockRow, last: int, asked: Asked) -> int | None:
        """The descriptor; None where what the catalog names cannot be trusted as it lies there."""
        verified = asked is not NOTHING_ASKED and asked.answered(
            key_of(Want(0, row.node, row.block, last, Priority.DEMAND, True))
        )
        try:
            return self._descriptors.open(row, verified=verified)
        except Lost:
            return None
