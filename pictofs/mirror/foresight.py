"""What is got ready while a dataset is listed for the first time, since its files are often read right after.

The carter's process takes a fifth of a second to start and a batch of signed URLs a tenth to come; both would
stand between the listing and the second file that somebody reads. A batch costs a request, so it is asked for
ahead only where one is enough, the hour's budget is hardly used, and those that came before were of use:
whoever only lists costs SPECULATIONS requests, not one for each dataset.
"""

from __future__ import annotations

from collections.abc import Callable

from pictofs.catalog.model import DatasetRow
from pictofs.mirror.access import Membership
from pictofs.mirror.links import BATCH_LIMIT, Scope

SPECULATIONS = 2     # batches in a row that nobody read by
LEAST_IMAGES = 16    # of fewer the first is as soon read without
BUDGET_SHARE = 0.5   # of the hour's requests that must be left


class Foresight:
    """Decides; `prepare` starts the carter, `sign` asks for a batch that nobody waits for."""

    def __init__(
        self, prepare: Callable[[], None], sign: Callable[[Membership, int, Scope], None]
    ) -> None:
        self._prepare = prepare
        self._sign = sign
        self._unused = 0

    def listing(self, member: Membership, dataset: DatasetRow) -> None:
        """The images of a dataset are asked for now."""
        if dataset.listed_ns or member.policy.prefetch == "off" or dataset.image_count < LEAST_IMAGES:
            return
        self._prepare()
        if self._unused < SPECULATIONS and dataset.image_count <= BATCH_LIMIT and _affordable(member):
            self._unused += 1
            self._sign(member, dataset.pk, Scope("images", dataset.pk))

    def used(self) -> None:
        """Somebody needs a URL."""
        self._unused = 0


def _affordable(member: Membership) -> bool:
    if not member.access.standing.online or member.access.standing.refused:
        return False    # the listing is likely to fail too, and then nobody reads
    budget = member.access.client.budget
    return budget is None or budget.remaining >= budget.limit * BUDGET_SHARE
