"""Attaching: from the accounts of a mount to the organizations that it serves.

A key that was used here before names its organization without a request; the service is asked all the same,
since a mount with a refused key must fail at once, but it is not waited for long. One access is made for each
key at each origin, however many mounts hold it, and ends with the last of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from pictofs import __version__, secrets
from pictofs.api import Organization
from pictofs.catalog import Catalog, CatalogReader
from pictofs.catalog.model import OrganizationRow
from pictofs.errors import KeyRefused, PictofsError, RateLimited, ServerFault, Unreachable
from pictofs.link.messages import PROTOCOL, SUCCEEDS, Account, Attach
from pictofs.mirror.access import Access, Membership, Partition
from pictofs.mirror.links import LinkPool
from pictofs.mirror.policy import Limits, Policy, notes, policy_of
from pictofs.mirror.writer import Writer

_log = logging.getLogger(__name__)
UNNAMED = "key:"  # what stands for the id of an organization that the service does not name
_AccessKey = tuple[str, str, str, str | None, str | None]


class Incompatible(PictofsError):
    """The mount speaks another protocol than this process."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Joined:
    """What a mount has become part of, account by account."""

    members: list[Membership]
    dialects: list[str]
    notes: list[str]


class Register:
    """The accesses and partitions in use. Lives in one event loop.

    `make_access` makes the access of an account that is new here.
    """

    def __init__(
        self,
        reader: CatalogReader,
        catalog: Catalog,
        writer: Writer,
        limits: Limits,
        cache_dir: str,
        make_access: Callable[[Account, Policy], Access],
    ) -> None:
        self._reader = reader
        self._catalog = catalog
        self._writer = writer
        self._limits = limits
        self._cache_dir = cache_dir
        self._make_access = make_access
        self._accesses: dict[_AccessKey, Access] = {}
        self._held: dict[Access, set[object]] = {}
        self._partitions: dict[int, Partition] = {}
        self._past_requests = 0

    @property
    def accesses(self) -> list[Access]:
        """Those that some mount holds."""
        return list(self._accesses.values())

    @property
    def api_requests(self) -> int:
        """Requests made to the API by all accesses, those that have ended among them."""
        return self._past_requests + sum(access.client.requests for access in self._accesses.values())

    async def join(self, holder: object, message: Attach) -> Joined:
        """The memberships of a mount. Raises what the mount is to be told; `leave` afterwards in any case."""
        if message.protocol != PROTOCOL:
            raise Incompatible(protocol_mismatch(message.protocol, self._cache_dir))
        members = await asyncio.gather(*(self._member(holder, account) for account in message.accounts))
        await self._release(holder, {member.access for member in members})  # a mount may attach anew
        told = dict.fromkeys(
            line for member in members for line in notes(self._limits, member.policy, self._cache_dir)
        )
        return Joined(list(members), [member.access.dialect for member in members], list(told))

    async def leave(self, holder: object) -> None:
        """The mount is gone; accesses that nobody else holds end."""
        await self._release(holder, set())

    async def _release(self, holder: object, kept: set[Access]) -> None:
        for key, access in tuple(self._accesses.items()):
            if access in kept:
                continue
            holders = self._held.get(access, set())
            holders.discard(holder)
            if not holders:
                del self._accesses[key]
                self._held.pop(access, None)
                self._past_requests += access.client.requests
                await access.close()

    async def _member(self, holder: object, account: Account) -> Membership:
        secrets.remember(account.api_key)
        policy = policy_of(account)
        key = _key(account, policy)
        access = self._accesses.get(key)
        if access is None:
            access = self._accesses[key] = self._make_access(account, policy)
        self._held.setdefault(access, set()).add(holder)
        row = await self._organization(access, account, policy)
        partition = self._partitions.setdefault(row.pk, Partition(row.pk, LinkPool()))
        return Membership(partition, access, policy)

    async def _organization(self, access: Access, account: Account, policy: Policy) -> OrganizationRow:
        """Whose the key is: as the service says, else as it was when the key was last used here."""
        known = self._reader.organization_for_key(access.client.origin, account.api_key)
        if policy.offline == "on":
            if known is None:
                raise Unreachable(
                    "offline=on, and this API key was never used with this cache_dir: mount online once"
                )
            return known
        asking = asyncio.ensure_future(access.ask(lambda client: client.organization.me()))
        try:
            patience_s = policy.patience_s if known and policy.offline == "auto" else None
            await asyncio.wait({asking}, timeout=patience_s)
            if asking.done():
                return await self._put(access, account, asking.result())
        except (Unreachable, ServerFault, RateLimited) as error:
            if known is None or policy.offline == "off":
                raise
            _log.warning("%s is served as it was known: %s", known.name, error)
            return known
        except KeyRefused:
            raise
        finally:
            if not asking.done():
                asking.add_done_callback(_heard)
        assert known is not None
        access.away(f"{access.client.origin} does not answer")
        _log.warning("%s is served as it was known: the service is slow to answer", known.name)
        return known

    async def _put(self, access: Access, account: Account, found: Organization) -> OrganizationRow:
        origin, key = access.client.origin, account.api_key
        remote_id = found.id or found.slug or self._stands_for(origin, account)
        return await self._writer.run(
            lambda: self._catalog.put_organization(
                origin, remote_id, found.name, found.slug, found.document, key
            )
        )

    def _stands_for(self, origin: str, account: Account) -> str:
        """Where the service does not say who it is (dialect A), two keys may be of two organizations: a key
        stands for its own, unless its mount says that it takes another's place.
        """
        known = self._reader.organization_for_key(origin, account.api_key)
        former = account.settings.get(SUCCEEDS)
        if known is None and isinstance(former, int):
            known = self._reader.organization(former)
        if known is not None and known.origin == origin and known.remote_id.startswith(UNNAMED):
            return known.remote_id
        return UNNAMED + fingerprint(account.api_key)


def fingerprint(key: str) -> str:
    """Sixteen hex digits that tell keys apart and tell nothing of them."""
    return hashlib.sha256(b"pictofs\0" + key.encode()).hexdigest()[:16]


def protocol_mismatch(theirs: int, cache_dir: str) -> str:
    """The line for a mount that speaks another protocol."""
    if theirs > PROTOCOL:
        return (
            f"the fetching process of {cache_dir} is pictofs {__version__}, older than this mount: "
            "it ends as soon as it can; mount again"
        )
    return f"the fetching process of {cache_dir} is pictofs {__version__}, newer than this mount: upgrade it"


def _key(account: Account, policy: Policy) -> _AccessKey:
    return account.base_url, fingerprint(account.api_key), account.dialect, policy.ca_file, policy.proxy


def _heard(task: asyncio.Task[Organization]) -> None:
    if not task.cancelled():
        task.exception()  # the access has taken note of it
