"""Calling back into code that is not ours, from a thread that must go on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_log = logging.getLogger("pictofs.storage")


class Teller:
    """Calls `done` and `progress`. What they raise is logged: once with its traceback, then counted."""

    def __init__(self) -> None:
        self.failures = 0

    def tell(self, callback: Callable[[T], None], argument: T) -> None:
        """Call it; nothing it raises comes out."""
        try:
            callback(argument)
        except Exception as error:  # noqa: BLE001 -- any error of theirs would end every other transfer
            self.failures += 1
            if self.failures == 1:
                _log.exception("a callback of a transfer failed; further ones are logged without traceback")
            else:
                _log.debug("a callback failed, %d so far: %s", self.failures, type(error).__name__)
