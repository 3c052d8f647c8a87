"""Requests that name a dataset: a rename at the service must not look like a loss.

Paths of some dialects carry names, and a name is as old as the last look. A 404 is therefore followed by
one request for the dataset by its id; when it has another name by now, the call is made once more.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pictofs.api import Client, Dataset, Image
from pictofs.catalog import CatalogReader
from pictofs.catalog.model import DirectoryRow, ImageRow
from pictofs.errors import NotFound, Stale
from pictofs.link.messages import Priority
from pictofs.mirror import facts
from pictofs.mirror.access import Membership

T = TypeVar("T")
# Asks the service for one dataset again and enters the answer in the catalog.
Renew = Callable[[Membership, int], Awaitable[None]]
NAMES_S = 1.0           # how old a dataset's name may be where requests go out by the hundred a second
DIRECTORIES = 4096      # that are known by name; they never change it


async def ask_by_name(
    reader: CatalogReader,
    renew: Renew,
    member: Membership,
    dataset: int,
    call: Callable[[Client, Dataset], T],
    priority: Priority = Priority.DEMAND,
    *,
    background: bool = False,
) -> T:
    """`call(client, dataset)`, once more under a new name. NotFound when the name is still good."""
    row = reader.dataset(dataset)
    if row is None or row.gone:
        raise Stale("this dataset is no longer known")
    model = facts.to_dataset(row)
    try:
        return await member.ask(lambda client: call(client, model), priority, background=background)
    except NotFound:
        await renew(member, dataset)
        now = reader.dataset(dataset)
        if now is None or now.gone:
            raise Stale(f"the dataset {row.name} is gone") from None
        if (now.name, now.slug) == (row.name, row.slug):
            raise
    model = facts.to_dataset(now)
    return await member.ask(lambda client: call(client, model), priority, background=background)


class Names:
    """By what to ask the API for images of a dataset, without a look into the catalog for each.

    A request under a name that is no longer good is answered with a 404, and made again by `ask_by_name`.
    """

    def __init__(self, reader: CatalogReader, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reader = reader
        self._clock = clock
        self._datasets: dict[int, tuple[Dataset | None, float]] = {}    # and until when it is believed
        self._directories: dict[int, DirectoryRow | None] = {}

    def dataset(self, pk: int) -> Dataset | None:
        """The dataset, as it was called at most NAMES_S ago; None for one that is not known."""
        now_s = self._clock()
        known = self._datasets.get(pk)
        if known is None or now_s >= known[1]:
            row = self._reader.dataset(pk)
            known = self._datasets[pk] = None if row is None else facts.to_dataset(row), now_s + NAMES_S
        return known[0]

    def image(self, row: ImageRow) -> Image:
        """The image."""
        directory = self._directories.get(row.directory)
        if directory is None:
            if len(self._directories) >= DIRECTORIES:
                self._directories.clear()
            directory = self._directories[row.directory] = self._reader.directory(row.directory)
        return facts.to_image(row, directory)
