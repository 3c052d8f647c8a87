"""One key at one origin, as the mounts that hold it use it; and an organization that several keys may share.

`Access.ask` is the only way to the API: it notes how the service answers, and while the service is away or
refuses the key, tries again by itself after a backoff, so that its return is told without anybody looking.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

from pictofs.api import Client
from pictofs.errors import Forbidden, KeyRefused, PictofsError, ServiceError, Unreachable
from pictofs.link.messages import Priority
from pictofs.mirror import availability
from pictofs.mirror.availability import Standing, Verdict
from pictofs.mirror.calls import Calls
from pictofs.mirror.links import LinkPool
from pictofs.mirror.policy import Policy
from pictofs.mirror.singleflight import Flight, Progress, SingleFlight, unheard
from pictofs.mirror.troubles import Troubles

T = TypeVar("T")
_log = logging.getLogger(__name__)
# A service that is back is noticed within half a ttl, so that what is new appears within one.
LONGEST_BACKOFF_S = 30.0


@dataclass(slots=True)
class Partition:
    """One organization at one origin: what is shared by all mounts of it, whatever their keys."""

    organization: int
    pool: LinkPool
    changed_ns: dict[int, int] = field(default_factory=dict)  # dataset → when it was last seen to change
    # the same for what its `updated_at` did not tell
    unexplained_ns: dict[int, int] = field(default_factory=dict)
    listed_archived: bool = False  # whether the last list of datasets was asked to hold archived ones


class Access:
    """One key. `on_standing` is called whenever the key's standing turns to another."""

    def __init__(
        self,
        client: Client,
        calls: Calls,
        policy: Policy,
        troubles: Troubles,
        on_standing: Callable[[Access], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.client = client
        self.standing = Standing()
        self.dialect = ""  # as last spoken; "" before the first answer
        self._calls = calls
        self._policy = policy
        self._troubles = troubles
        self._on_standing = on_standing
        self._clock = clock
        self._chance = chance
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def remaining(self) -> int | None:
        """What is left of the hour's requests, where the service says so."""
        budget = self.client.budget
        return budget.remaining if budget else None

    async def ask(
        self,
        call: Callable[[Client], T],
        priority: Priority = Priority.DEMAND,
        *,
        background: bool = False,
    ) -> T:
        """`call(client)` in a thread. ServiceError as the api room raises it; the standing follows.

        `priority` is the place in the queue for a thread; `background` keeps off the budget's reserve.
        """
        try:
            result, self.dialect = await self._calls.run(lambda: self._asked(call, background), priority)
        except Unreachable as error:
            self._turn(availability.unreachable(
                self.standing, self._clock(), str(error), self._longest_s, self._chance()
            ))  # fmt: skip
            raise
        except KeyRefused as error:
            self._turn(availability.refused(
                self.standing, self._clock(), str(error), self._longest_s, self._chance()
            ))  # fmt: skip
            raise
        except ServiceError as error:
            # An answer, if not the one hoped for. Without a status it was the budget that held the call back;
            # a 403 after a 401 is no better standing.
            if error.status and not (self.standing.refused and isinstance(error, Forbidden)):
                self._turn(availability.answered(self.standing, self._clock()))
            self._troubles.note(str(error))
            raise
        self._turn(availability.answered(self.standing, self._clock()))
        return result

    def _asked(self, call: Callable[[Client], T], background: bool) -> tuple[T, str]:
        with self.client.call_class(Priority.LOOK_AHEAD if background else Priority.DEMAND):
            result = call(self.client)
            return result, self.client.dialect  # known by now: it takes no request of its own

    def away(self, what: str) -> None:
        """The service was waited for in vain; its answer may still come."""
        self._turn(availability.unreachable(
            self.standing, self._clock(), what, self._longest_s, self._chance()
        ))  # fmt: skip

    def retry_now(self) -> None:
        """Forgets the backoff: somebody knows that the service or the key is good again."""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if not self.standing.online or self.standing.refused:
            self._probe = asyncio.ensure_future(self._try_again(at_once=True))

    async def close(self) -> None:
        """Stops trying and gives the connections back."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        self.client.close()

    @property
    def _longest_s(self) -> float:
        return max(availability.FIRST_BACKOFF_S, min(LONGEST_BACKOFF_S, self._policy.ttl_s / 2))

    def _turn(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        if (before.online, before.refused) == (standing.online, standing.refused):
            return
        if standing.online and not standing.refused:
            _log.info("the service at %s answers again", self.client.origin)
        else:
            _log.warning("%s", standing.what)
            self._troubles.note(standing.what)
            if self._probe is None and not self._closed:
                self._probe = asyncio.ensure_future(self._try_again())
        self._on_standing(self)

    async def _try_again(self, *, at_once: bool = False) -> None:
        """Asks who the key belongs to, after each backoff, until the service gives an answer."""
        try:
            while not self.standing.online or self.standing.refused:
                if not at_once:
                    await asyncio.sleep(max(0.0, self.standing.next_try_s - self._clock()))
                at_once = False
                try:
                    await self.ask(lambda client: client.organization.me(), Priority.LOOK_AHEAD)
                except (Unreachable, KeyRefused):
                    continue
                except PictofsError:  # the budget, a fault of the service: no news of the key
                    await asyncio.sleep(self._longest_s)
        finally:
            if self._probe is asyncio.current_task():
                self._probe = None


@dataclass(frozen=True, slots=True)
class Membership:
    """One mount's part in one organization: the key it holds and what it asks for."""

    partition: Partition
    access: Access
    policy: Policy
    clock: Callable[[], float] = time.monotonic

    @property
    def organization(self) -> int:
        """The catalog's pk."""
        return self.partition.organization

    def verdict(self, *, known: bool) -> Verdict:
        """Whether this mount's look may ask the service; `known`: something complete could be served."""
        return availability.before(
            self.access.standing,
            offline=self.policy.offline,
            grace_s=self.policy.auth_grace_s,
            now_s=self.clock(),
            known=known,
        )

    def check(self) -> None:
        """Raises what a demand ends in that may not ask the service now."""
        if self.verdict(known=False) is Verdict.FAIL:
            raise availability.failure(self.access.standing, self.policy.offline)

    async def ask(
        self,
        call: Callable[[Client], T],
        priority: Priority = Priority.DEMAND,
        *,
        background: bool = False,
    ) -> T:
        """`Access.ask`, unless it is known to be in vain."""
        self.check()
        return await self.access.ask(call, priority, background=background)

    async def join(
        self,
        flights: SingleFlight,
        key: Hashable,
        start: Callable[[Flight], Awaitable[T]],
        progress: Progress = unheard,
    ) -> T:
        """`SingleFlight.join`, begun once more when it ended for another mount's key, or with that mount.

        A serving process that was killed takes its connections to the service with it, and the one that takes
        its place asks for the same at once.
        """
        try:
            return await flights.join(key, start, progress)
        except KeyRefused:
            if self.access.standing.refused:
                raise
        except Unreachable:
            if not self.access.standing.online:
                raise
        return await flights.join(key, start, progress)
