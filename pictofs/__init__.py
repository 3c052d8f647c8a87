"""pictofs mounts a Pictograph organization as plain files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pictofs.download import Downloads

__version__ = "0.1.0"


def downloads() -> Downloads:
    """What carries out `Client.datasets.download` unless the client was given something else.

    Composed here, above all rooms: the api room does not know the storage room. Nothing is loaded before.
    """
    from pictofs.download import Downloads

    return Downloads()
