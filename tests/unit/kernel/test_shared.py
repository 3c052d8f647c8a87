"""What the supervisor sees of the serving process, and what outlives it."""

from __future__ import annotations

import os
import time

from pictofs.drivers.kernel.shared import BUSY_SINCE, REQUESTS, Shared
from pictofs.drivers.kernel.wire import Opcode


def test_both_ends_see_the_same_words() -> None:
    mine = Shared.create()
    theirs = Shared(os.dup(mine.fd))
    theirs.words[REQUESTS + Opcode.READ] += 3
    theirs.words[REQUESTS + 63] += 1
    assert mine.requests() == {"READ": 3, "63": 1}
    theirs.close()
    mine.close()


def test_a_loop_is_silent_only_while_it_is_at_a_request() -> None:
    shared = Shared.create()
    assert shared.silent_s() == 0.0
    shared.words[BUSY_SINCE] = time.monotonic_ns() - 31_000_000_000
    assert 31.0 <= shared.silent_s() < 60.0
    shared.words[BUSY_SINCE] = 0
    assert shared.silent_s() == 0.0
    shared.close()


def test_a_successor_of_another_layout_starts_afresh() -> None:
    shared = Shared.create()
    shared.words[REQUESTS + 1] = 7
    shared.words[0] = 1
    again = Shared(os.dup(shared.fd))
    assert again.requests() == {}
    again.close()
    shared.close()
