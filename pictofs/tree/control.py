"""`.pictofs`: what the mount is doing, readable with cat.

A control file is rendered whole when its attributes are asked for, and read from that text until they are
asked for again; its attributes are valid for no time and its mtime is always new. (Growing between stat and
read truncates; an equal size and mtime shows the old text.) What it says is rendered above this room.
"""

from __future__ import annotations

import errno
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


@dataclass(frozen=True, slots=True)
class ControlFile:
    """`render(answer)` gives the text; `answer` is what the fetching process told when asked `verb`.

    It is empty when that process is not there, and when `verb` is "": nobody is asked then. A text that grows
    with every look would never be read to its end: it is rendered once in `kept_s` seconds.
    """

    name: str
    verb: str
    render: Callable[[dict[str, Any]], bytes]
    kept_s: float = 0.0


class Control(Place):
    """The folder (pk 1) and the files in it (pks from 2, in their order)."""

    def __init__(self, attributes: Attributes, wall_ns: Callable[[], int], ttl_s: float) -> None:
        self._attributes = attributes
        self._wall_ns = wall_ns
        self._ttl_s = ttl_s
        self._started_ns = wall_ns()
        self._files: list[ControlFile] = []
        self._texts: dict[int, tuple[bytes, int]] = {}     # node → text as last rendered, and when

    def offer(self, files: list[ControlFile]) -> None:
        """The files that there are, for the life of the mount."""
        self._files = files

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """One of the files; its length is as rendered last, and valid for no time."""
        if node != FOLDER_NODE:
            refuse(errno.ENOTDIR)
        for file_node, file in self._nodes():
            if file.name == name:
                return Entry(self._file_attr(file_node), self._ttl_s)
        return Entry(None, self._ttl_s)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """Renders a file anew, with what the fetching process has to say."""
        if node == FOLDER_NODE:
            return self.attr()
        file = self._file(node)
        if node in self._texts and self._wall_ns() - self._texts[node][1] < file.kept_s * 1e9:
            return self._file_attr(node)
        answer: dict[str, Any] = {}
        if file.verb:
            request = Ask(0, file.verb)
            if not asked.answered(key_of(request)):
                raise Need(request)
            answer = asked.answer(key_of(request))
        _, before_ns = self._texts.get(node, (b"", 0))
        self._texts[node] = (file.render(answer), max(self._wall_ns(), before_ns + 1))
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
        """The text as rendered last."""
        if node == FOLDER_NODE:
            refuse(errno.EISDIR)
        self._file(node)
        text, _ = self._texts.get(node, (b"", 0))
        return File(node, len(text), 1, True, text)

    def _file_attr(self, node: int) -> Attr:
        text, rendered_ns = self._texts.get(node, (b"", self._started_ns))
        return self._attributes.file(node, node, len(text), rendered_ns, 0.0)

    def _nodes(self) -> list[tuple[int, ControlFile]]:
        return [
            (node_id(_FOLDER_PK + 1 + place, Kind.CONTROL), file) for place, file in enumerate(self._files)
        ]

    def _file(self, node: int) -> ControlFile:
        place = node_pk(node) - _FOLDER_PK - 1
        if not 0 <= place < len(self._files):
            refuse(errno.ESTALE)
        return self._files[place]
