"""Requests that name a dataset: a rename at the service must not look like a loss.

Paths of some dialects carry names, and a name is as old as the last look. A 404 is therefore followed by
one request for the dataset by its id; when it has another name by now, the call is made once more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from pictofs.api import Client, Dataset
from pictofs.catalog import CatalogReader
from pictofs.errors import NotFound, Stale
from pictofs.link.messages import Priority
from pictofs.mirror import facts
from pictofs.mirror.access import Membership

T = TypeVar("T")
# Asks the service for one dataset again and enters the answer in the catalog.
Renew = Callable[[Membership, int], Awaitable[None]]


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
