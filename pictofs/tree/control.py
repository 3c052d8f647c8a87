"""`.pictofs`: what the mount is doing, readable with cat.

A control file is another at every look: looking its name up renders it, and gives that text a node of its own
which never changes. So whoever opens the path has one text whole, however many others look meanwhile and in
however small pieces it is read, without any word from the kernel about who opened what (with `io=cache` there
is none). The names are valid for no time; the inode number (st_ino) stays the file's.

Through an overlay that cannot be: a name that leads to another node than before is ESTALE there. With `fixed`
the node stays: the text is rendered when its attributes are asked for and KEPT_S are over since the last one,
since a reader has them asked for between any two reads; they are valid for no time, and the mtime of a new
text is always new. (Growing between stat and read
truncates; an equal size and mtime shows the old text.) What the files say is rendered above this room.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pictofs.catalog.model import Kind, node_id, node_pk
from pictofs.link.messages import Ask
from pictofs.tree.attributes import Attributes
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.need import Asked, Need, key_of
from pictofs.tree.place import Place, refuse

NAME = ".pictofs"
_FOLDER_PK = 1
FOLDER_NODE = node_id(_FOLDER_PK, Kind.CONTROL)
# A text's node is its serial number and, in the lowest byte of the pk, its file. Serials begin with the
# clock, in milliseconds, so that those of a serving process before this one mean nothing to it.
_FILE_BITS = 8
# Texts are kept for as long as they may be read: the most recent ones, so many bytes of them.
HELD_BYTES = 16 << 20
KEPT_S = 1.0    # of one text at a fixed node: longer than `cat` takes


@dataclass(frozen=True, slots=True)
class ControlFile:
    """`render(answer)` gives the text; `answer` is what the fetching process told when asked `verb`.

    It is empty when that process is not there, and when `verb` is "": nobody is asked then.
    """

    name: str
    verb: str
    render: Callable[[dict[str, Any]], bytes]


class Control(Place):
    """The folder (pk 1) and the files in it (pks from 2, in their order)."""

    def __init__(
        self, attributes: Attributes, wall_ns: Callable[[], int], ttl_s: float, *, fixed: bool = False
    ) -> None:
        self._attributes = attributes
        self._wall_ns = wall_ns
        self._ttl_s = ttl_s
        self._fixed = fixed
        self._started_ns = wall_ns()
        self._files: list[ControlFile] = []
        self._serial = self._started_ns // 1_000_000
        self._texts: OrderedDict[int, tuple[bytes, int]] = OrderedDict()   # node → text, and when rendered
        self._held_bytes = 0

    def offer(self, files: list[ControlFile]) -> None:
        """The files that there are, for the life of the mount."""
        self._files = files

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """One of the files, rendered anew with what the fetching process has to say; valid for no time.

        Of a fixed node, its length is as rendered last.
        """
        if node != FOLDER_NODE:
            refuse(errno.ENOTDIR)
        for file_node, file in self._nodes():
            if file.name != name:
                continue
            if self._fixed:
                return Entry(self._file_attr(file_node), self._ttl_s)
            text = self._render(file, asked)
            self._serial += 1
            own = node_id(self._serial << _FILE_BITS | node_pk(file_node), Kind.CONTROL)
            self._keep(own, text)
            return Entry(self._file_attr(own), 0.0)
        return Entry(None, self._ttl_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Of a text that was rendered, as it was; of a fixed node, rendered anew once it is KEPT_S old."""
        if node == FOLDER_NODE:
            return self.attr()
        file = self._file(node)
        if not self._fixed:
            return self._file_attr(node)
        if node in self._texts and self._wall_ns() - self._texts[node][1] < KEPT_S * 1e9:
            return self._file_attr(node)
        self._keep(node, self._render(file, asked))
        return self._file_attr(node)

    def attr(self) -> Attr:
        """The folder's."""
        return self._attributes.directory(FOLDER_NODE, self._started_ns, self._ttl_s, 0)

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The files, without attributes: asking for those renders."""
        if node != FOLDER_NODE:
            refuse(errno.ENOTDIR)
        return [
            DirEntry(file.name, file_node, file_node, self._attributes.file_mode, file_node, None)
            for file_node, file in self._nodes()
            if file_node > cookie
        ][:limit]

    def file(self, node: int, asked: Asked) -> File:
        """The text as rendered; ESTALE for one that so many others have followed that it was let go."""
        if node == FOLDER_NODE:
            refuse(errno.EISDIR)
        text, _ = self._text(node)
        return File(node, len(text), 1, True, text)

    def _render(self, file: ControlFile, asked: Asked) -> bytes:
        answer: dict[str, Any] = {}
        if file.verb:
            request = Ask(0, file.verb)
            if not asked.answered(key_of(request)):
                raise Need(request)
            answer = asked.answer(key_of(request))
        return file.render(answer)

    def _keep(self, node: int, text: bytes) -> None:
        before, before_ns = self._texts.pop(node, (b"", 0))
        self._texts[node] = (text, max(self._wall_ns(), before_ns + 1))
        self._held_bytes += len(text) - len(before)
        while self._held_bytes > HELD_BYTES and len(self._texts) > len(self._files):
            _, (oldest, _) = self._texts.popitem(last=False)
            self._held_bytes -= len(oldest)

    def _text(self, node: int) -> tuple[bytes, int]:
        self._file(node)
        if self._fixed:
            return self._texts.get(node, (b"", self._started_ns))
        return self._texts.get(node) or refuse(errno.ESTALE)

    def _file_attr(self, node: int) -> Attr:
        text, rendered_ns = self._text(node)
        valid_s = 0.0 if self._fixed else self._ttl_s
        return self._attributes.file(node, _file_node(node), len(text), rendered_ns, valid_s)

    def _nodes(self) -> list[tuple[int, ControlFile]]:
        return [
            (node_id(_FOLDER_PK + 1 + place, Kind.CONTROL), file) for place, file in enumerate(self._files)
        ]

    def _file(self, node: int) -> ControlFile:
        place = node_pk(_file_node(node)) - _FOLDER_PK - 1
        if not 0 <= place < len(self._files):
            refuse(errno.ESTALE)
        return self._files[place]


def _file_node(node: int) -> int:
    """The file that a text is of."""
    return node_id(node_pk(node) & (1 << _FILE_BITS) - 1, Kind.CONTROL)
