"""When a host is no longer asked: not every file has to find out by itself that it is away. Pure."""

from __future__ import annotations

from pictofs.errors import (
    Damaged,
    KeyRefused,
    ObjectChanged,
    ObjectGone,
    PictofsError,
    RateLimited,
    ServerFault,
    TransferError,
    Unreachable,
)

# What says something of the one file alone.
_OF_ONE_FILE = (Damaged, ObjectChanged, ObjectGone)
_OF_THE_HOST = (RateLimited, ServerFault, TransferError, Unreachable)


class Setbacks:
    """The failures of one host in a row; `limit` of them, or a refused key, and it is given up."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_a_row = 0
        self.given_up: PictofsError | None = None

    def success(self) -> None:
        """It answers."""
        self._in_a_row = 0

    def failure(self, error: PictofsError) -> None:
        """A file has failed for good."""
        if isinstance(error, KeyRefused):
            self.given_up = error
        elif isinstance(error, _OF_ONE_FILE) or not isinstance(error, _OF_THE_HOST):
            self._in_a_row = 0
        else:
            self._in_a_row += 1
            if self._in_a_row >= self._limit:
                self.given_up = error
