"""pictofs mounts a Pictograph organization as plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from pictofs.download import Downloads

__version__ = "0.1.0"


def advise(paths: Iterable[str | PathLike[str]]) -> int:
    """Announce that these files of a mount will be read, in this order; how many were announced.

    They are fetched just ahead of the readers; what has been read makes room for what is to come. The next
    call replaces the order; an empty one takes it back. Paths that are on no mount of yours, or that name
    nothing, raise NotMounted or UsageError; Unreachable when the fetching process does not answer.
    """
    from pictofs.mount.advising import announce

    return announce(paths)


def downloads() -> Downloads:
    """What carries out `Client.datasets.download` unless the client was given something else.

    Composed here, above all rooms: the api room does not know the storage room. Nothing is loaded before.
    """
    from pictofs.download import Downloads

    return Downloads()
