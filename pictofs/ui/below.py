"""Opening what lies below a mountpoint, and nothing else: component by component, no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pictofs.errors import UsageError

DEPTH = 64


def parts(path: str) -> tuple[str, ...]:
    """The components of a path below a mountpoint; UsageError for one that may lead elsewhere."""
    found = tuple(part for part in path.split("/") if part)
    leads_elsewhere = path.startswith("/") or "\0" in path or not {".", ".."}.isdisjoint(found)
    if leads_elsewhere or len(found) > DEPTH:
        raise UsageError("that is no path below the mountpoint")
    return found


@contextmanager
def opened(mountpoint: str, names: Sequence[str], flags: int = 0) -> Iterator[int]:
    """A descriptor of the file, or with O_DIRECTORY of the folder, that `names` lead to from `mountpoint`."""
    folder = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, name in enumerate(names):
            last = place == len(names) - 1
            how = flags if last else os.O_DIRECTORY
            deeper = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | how, dir_fd=folder)
            os.close(folder)
            folder = deeper
        yield folder
    finally:
        os.close(folder)
