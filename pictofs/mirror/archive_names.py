"""From the names in an archive to a tree of file names that is safe, whatever they are. Pure.

A component is encoded by `names.encode`: `..`, the empty one (of `/absolute` or `a//b`) and NUL become
escapes that decode again. A directory keeps its plain name; a file that has the name of a directory, or of a
file before it, carries a mark, as twins do everywhere on the mount.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pictofs import names
from pictofs.catalog.model import MemberFacts
from pictofs.errors import ArchiveTooLarge

TOP = -1


class Entry(NamedTuple):
    """One line of a central directory."""

    name: str                 # as it is there; a directory's ends in a slash
    method: int = 0
    encrypted: bool = False
    header: int = 0
    packed_bytes: int = 0
    size_bytes: int = 0
    crc32: int = 0


class _Directories:
    """Every directory that an entry names or lies in, once. Position `n` counts from 0."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._at: dict[tuple[int, str], int] = {}
        self.facts: list[MemberFacts] = []  # `parent` a position here

    def enter(self, components: Iterable[str]) -> int:
        """The position of the directory behind these components."""
        at = TOP
        for component in components:
            key = (at, component)
            found = self._at.get(key)
            if found is None:
                if len(self.facts) >= self._limit:
                    raise ArchiveTooLarge(f"more than {self._limit} directories")
                plain = names.encode(component)
                file_name = names.fit(plain, names.tag("", "directory", component))
                found = self._at[key] = len(self.facts)
                self.facts.append(MemberFacts(at, file_name, component if file_name != plain else ""))
            at = found
        return at


class Placed:
    """Where the entries of an archive go. ArchiveTooLarge where there are more than `limit` of either kind.

    `count` is known at once; `facts` gives files in the archive's order, then directories, and `parent` is a
    position there.
    """

    def __init__(self, entries: Iterable[Entry], limit: int) -> None:
        self._directories = _Directories(limit)
        self._files: list[tuple[int, str, Entry]] = []
        enter = self._directories.enter
        parents: dict[str, int] = {"": TOP}
        for number, entry in enumerate(entries):
            if number >= limit:
                raise ArchiveTooLarge(f"more than {limit} members")
            folder, slash, name = entry.name.rpartition("/")
            parent = parents.get(folder) if folder or not slash else enter([""])  # an absolute name
            if parent is None:
                parent = parents[folder] = enter(folder.split("/"))
            if name or not slash:
                self._files.append((parent, name, entry))
        self.count = len(self._files) + len(self._directories.facts)

    def facts(self) -> Iterator[MemberFacts]:
        """All of them, once."""
        taken = {(one.parent, one.file_name) for one in self._directories.facts}
        first = len(self._files)
        for ordinal, (parent, name, entry) in enumerate(self._files):
            encoded = names.encode(name)
            file_name = _claim(parent, name, encoded, ordinal, taken)
            yield MemberFacts(
                parent + first if parent != TOP else TOP, file_name, name if file_name != encoded else "",
                entry.method, entry.encrypted, entry.header, entry.packed_bytes, entry.size_bytes,
                entry.crc32,
            )  # fmt: skip
        for one in self._directories.facts:
            yield one._replace(parent=one.parent + first if one.parent != TOP else TOP)


def _claim(parent: int, name: str, plain: str, ordinal: int, taken: set[tuple[int, str]]) -> str:
    file_name, tries = plain, 0
    if len(plain) > names.LIMIT_BYTES // 4 or (parent, plain) in taken:
        mark = names.tag("", "member", name, ordinal)
        file_name = names.fit(plain, mark)
        while (parent, file_name) in taken:
            tries += 1
            file_name = names.marked(plain, mark if tries == 1 else f"{mark}-{tries}")
    taken.add((parent, file_name))
    return file_name
