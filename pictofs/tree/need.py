"""How an operation says what it lacks, and what it has been told so far.

The tree answers from the catalog alone. Where that is not enough an operation raises `Need`; whoever runs
it sends the request and runs the operation again with an `Asked` that remembers the answer. An operation
never needs the same thing twice, so it ends.
"""

from __future__ import annotations

from typing import Any

from pictofs.link.messages import Ask, Look, Want

Key = tuple[Any, ...]


def key_of(request: Look | Want | Ask) -> Key:
    """What makes two requests one: everything but the id (and who is served first)."""
    if isinstance(request, Look):
        return ("look", request.node)
    if isinstance(request, Want):
        return ("want", request.node, request.first, request.last, request.lost)
    return ("ask", request.verb, *request.arguments.get("nodes", ()))


class Need(Exception):
    """`request` (its id is 0: the sender's to fill) must be answered first.

    `known`: the catalog can answer without it too, only older. Such a wait is bounded as a whole, not by
    progress, and ends in the older answer.
    """

    def __init__(self, request: Look | Want | Ask, *, known: bool = False) -> None:
        super().__init__(request)
        self.request = request
        self.known = known


class Asked:
    """What one operation has asked for and been answered."""

    __slots__ = ("_answers", "times")

    def __init__(self) -> None:
        self._answers: dict[Key, dict[str, Any]] = {}
        self.times: dict[Key, int] = {}

    def answered(self, key: Key) -> bool:
        """Has this been answered in this operation?"""
        return key in self._answers

    def looked(self, node: int) -> bool:
        """Has a Look at `node` been answered in this operation?"""
        return ("look", node) in self._answers

    def answer(self, key: Key) -> dict[str, Any]:
        """What an Ask was told; empty for everything else."""
        return self._answers.get(key, {})

    def note(self, key: Key, answer: dict[str, Any] | None = None) -> None:
        """`key` has been answered."""
        self._answers[key] = answer or {}
        self.times[key] = self.times.get(key, 0) + 1


class _Nothing(Asked):
    """The state in which every operation begins, shared by all."""

    __slots__ = ()

    def note(self, key: Key, answer: dict[str, Any] | None = None) -> None:
        raise AssertionError("an operation that was answered has an Asked of its own")


NOTHING_ASKED: Asked = _Nothing()
