"""How often a process may die, and how soon it is started again: pure, but for the count."""

from __future__ import annotations

import os
from dataclasses import dataclass

FORGIVEN_S = 0.5  # of life, for each death before: who is killed now and then is replaced at once
BACKOFF_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
LIMIT = 20  # deaths in a row, hardly any life between them: a minute and a half


@dataclass(slots=True)
class Deaths:
    """The deaths of one kind of process, those that are not forgiven yet."""

    count: int = 0

    def delay_s(self, lived_s: float) -> float | None:
        """One more, after it had answered for so long: when to start again, or None when it is no use.

        Getting ready is no life: what dies of its start has lived for 0 s, however slow the machine.
        """
        self.count = max(0, self.count - int(lived_s / FORGIVEN_S)) + 1
        if self.count > LIMIT:
            return None
        return BACKOFF_S[min(self.count - 1, len(BACKOFF_S) - 1)]


def how(status: int) -> str:
    """What waitpid's status says, for a person."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.waitstatus_to_exitcode(status)}"
