"""Names for a driver that is asked by path: (parent, name) → node, believed as long as vfs said.

Also which version of a file the kernel may hold pages of. libfuse 2 knows a file by its path alone, so an old
and a new version of one path share one page cache and one size in the kernel, and mixing them must be
prevented here:

- a path is opened while another version of it is open: past the page cache (`direct`), which then holds
  bytes of the old version only;
- once the new version was shown (by a stat or an open), the old one's reads that reach us end in ESTALE,
  since the kernel may clip or extend them by the new size;
- pages are kept from one open to the next only when the version is the same.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

NAMES = 1 << 16
VERSIONS = 1 << 16

# (node, mtime_ns, size_bytes): a node alone does not tell dataset.json of now from that of before
Version = tuple[int, int, int]


class Names:
    """Thread-safe; its lock is taken last and held for a dictionary access only."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[int, str], tuple[int | None, float]] = OrderedDict()

    def get(self, parent: int, name: str) -> tuple[int | None] | None:
        """(node,) or (None,) for a name known not to exist; None when it must be looked up."""
        with self._lock:
            found = self._entries.get((parent, name))
            return (found[0],) if found is not None and found[1] > self._clock() else None

    def put(self, parent: int, name: str, node: int | None, valid_s: float) -> None:
        """What a lookup said."""
        if valid_s <= 0.0:
            return
        with self._lock:
            self._entries[parent, name] = (node, self._clock() + valid_s)
            self._entries.move_to_end((parent, name))
            while len(self._entries) > NAMES:
                self._entries.popitem(last=False)

    def forget(self, entries: list[tuple[int, str]]) -> None:
        """These names lead elsewhere now."""
        with self._lock:
            for entry in entries:
                self._entries.pop(entry, None)


@dataclass(slots=True)
class Handle:
    """An open file. `text` is its whole content where that is rendered anew for every open."""

    path: str
    node: int
    version: Version
    direct: bool
    text: bytes | None = None


@dataclass(slots=True)
class _Path:
    shown: Version
    cached: dict[Version, int] = field(default_factory=dict)    # open through the page cache: how often


class OpenFiles:
    """Handles by number, and what the kernel has been shown of their paths. Thread-safe as `Names` is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[int, Handle] = {}
        self._next = 0
        self._paths: dict[str, _Path] = {}
        self._kept: OrderedDict[str, Version] = OrderedDict()

    def open(self, path: str, version: Version, text: bytes | None) -> tuple[int, bool, bool]:
        """A number for the handle; whether it must pass the page cache by; whether pages may be kept."""
        with self._lock:
            known = self._paths.setdefault(path, _Path(version))
            known.shown = version
            direct = text is not None or any(other != version for other in known.cached)
            keep = False
            if not direct:
                known.cached[version] = known.cached.get(version, 0) + 1
                keep = self._kept.get(path) == version
                self._kept[path] = version
                self._kept.move_to_end(path)
                while len(self._kept) > VERSIONS:
                    self._kept.popitem(last=False)
            self._next += 1
            self._handles[self._next] = Handle(path, version[0], version, direct, text)
            if direct and not known.cached:
                del self._paths[path]
            return self._next, direct, keep

    def get(self, number: int) -> Handle | None:
        """The handle of that number."""
        return self._handles.get(number)

    def outdated(self, handle: Handle) -> bool:
        """Has the kernel been shown another version of the path that this handle reads through its cache?"""
        if handle.direct:
            return False
        with self._lock:
            known = self._paths.get(handle.path)
            return known is not None and known.shown != handle.version

    def show(self, path: str, version: Version) -> None:
        """A stat of `path` is about to be answered with this version."""
        with self._lock:
            known = self._paths.get(path)
            if known is not None:
                known.shown = version

    def close(self, number: int) -> None:
        """The last user of the handle is gone."""
        with self._lock:
            handle = self._handles.pop(number, None)
            if handle is None or handle.direct:
                return
            known = self._paths[handle.path]
            known.cached[handle.version] -= 1
            if not known.cached[handle.version]:
                del known.cached[handle.version]
            if not known.cached:
                del self._paths[handle.path]
