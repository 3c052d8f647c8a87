"""Which blocks go when there is no room: pure, from candidates to victims.

`epoch`  keeps what is there. Training reads everything once an epoch, in a new order: whatever is evicted for
         a newcomer is wanted again before the newcomer is. A cache of half a dataset that stays put serves
         half of every epoch; one that churns, as `lru` does, serves next to nothing. So only old versions
         and what was deleted go, and what arrives when the rest is full is not kept.
`lru`    after those, what no reader was seen on for longest.
`fifo`   after those, what entered first.

What is pinned never goes, under any policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

POLICIES = ("epoch", "lru", "fifo")


class Candidate(Protocol):
    """A block that may have to go; `pictofs.catalog.model.BlockAge` is one."""

    @property
    def node(self) -> int:
        """The version it belongs to."""

    @property
    def block(self) -> int:
        """Which piece of it."""

    @property
    def size_bytes(self) -> int:
        """What its eviction frees."""

    @property
    def stored_s(self) -> int:
        """When it entered."""

    @property
    def used_s(self) -> int:
        """When a reader was last seen on it."""

    @property
    def current(self) -> bool:
        """Whether a name still leads to its version."""

    @property
    def pinned(self) -> bool:
        """Whether somebody asked to keep it."""


C = TypeVar("C", bound=Candidate)


def victims(policy: str, candidates: Iterable[C], need_bytes: int) -> list[C]:
    """The blocks to evict for `need_bytes`, in order; empty when these candidates cannot make that much room.

    All or nothing: to evict some and still have no room would be a loss for nothing.
    """
    if policy not in POLICIES:
        raise ValueError(f"no eviction policy {policy!r}")
    chosen: list[C] = []
    freed_bytes = 0
    for one in sorted((c for c in candidates if _may_go(policy, c)), key=lambda c: _rank(policy, c)):
        if freed_bytes >= need_bytes:
            break
        chosen.append(one)
        freed_bytes += one.size_bytes
    return chosen if freed_bytes >= need_bytes else []


def _may_go(policy: str, one: Candidate) -> bool:
    return not one.pinned and (policy != "epoch" or not one.current)


def _rank(policy: str, one: Candidate) -> tuple[bool, int, int, int]:
    return one.current, one.stored_s if policy == "fifo" else one.used_s, one.node, one.block
