"""Reading an archive in order: how far ahead, on what proof."""

from __future__ import annotations

import itertools

from pictofs.mirror.sequence import FROM_THE_START, LONGEST_WINDOW, PROOF_BLOCKS, STEP_BLOCKS, Sequences

COUNT = 10_000


def test_a_first_read_and_scattered_ones_bring_nothing_ahead() -> None:
    sequences = Sequences()
    for block in (0, 500, 20, 7000, 6000, 2):
        assert not sequences.seen(1, 1, block, block, COUNT)


def test_who_takes_one_picture_and_goes_has_fetched_nothing_in_vain() -> None:
    sequences = Sequences()
    for number in range(50):
        assert not sequences.seen(1, 1, 150 * number, 150 * number, COUNT)
        assert not sequences.seen(1, 1, 150 * number + 1, 150 * number + 2, COUNT)


def test_what_is_fetched_ahead_is_never_more_than_what_was_read_in_order() -> None:
    sequences = Sequences()
    for read, block in enumerate(range(1000, 1500), 1):
        ahead = sequences.seen(1, 1, block, block, COUNT)
        assert not ahead or ahead.stop - block - 1 <= read


def test_who_begins_with_the_first_byte_is_four_times_as_far_ahead() -> None:
    sequences = Sequences()
    for block in range(500):
        ahead = sequences.seen(1, 1, block, block, COUNT)
        assert not ahead or ahead.stop - block - 1 <= min(LONGEST_WINDOW, FROM_THE_START * (block + 1))
        assert bool(ahead) or block != PROOF_BLOCKS - 1
    sequences.seen(1, 1, 5000, 5002, COUNT)
    assert len(sequences.seen(1, 1, 5003, 5003, COUNT)) == PROOF_BLOCKS, "a row elsewhere proves itself"


def test_the_window_begins_small_and_doubles_with_every_proof() -> None:
    sequences = Sequences()
    asked: list[range] = []
    for block in range(1000, 3000):
        ahead = sequences.seen(1, 1, block, block, COUNT)
        if ahead:
            asked.append(ahead)
    assert asked[0] == range(1000 + PROOF_BLOCKS, 1000 + 2 * PROOF_BLOCKS)
    assert all(left.stop == right.start for left, right in itertools.pairwise(asked)), "each once"
    assert max(len(ahead) for ahead in asked) <= LONGEST_WINDOW
    assert len(asked) < 2000 / STEP_BLOCKS + 12, "few requests for many blocks"
    assert max(map(len, asked[20:])) == STEP_BLOCKS, "and never many at once, which come together"


def test_a_reader_never_catches_up_with_its_window() -> None:
    sequences = Sequences()
    here = 0
    for block in range(5000):
        ahead = sequences.seen(1, 1, block, block, COUNT)
        here = max(here, ahead.stop)
        assert block < PROOF_BLOCKS or here > block


def test_a_step_aside_ends_the_window() -> None:
    sequences = Sequences()
    for block in range(100):
        sequences.seen(1, 1, block, block, COUNT)
    assert not sequences.seen(1, 1, 5000, 5000, COUNT)
    assert not sequences.seen(1, 1, 5001, 5002, COUNT)
    assert sequences.seen(1, 1, 5003, 5003, COUNT) == range(5004, 5004 + PROOF_BLOCKS)


def test_news_that_come_late_or_out_of_order_are_no_step_aside() -> None:
    sequences = Sequences()
    assert not sequences.seen(1, 1, 10, 10, COUNT)
    assert sequences.seen(1, 1, 11, 13, COUNT) == range(14, 18)
    assert not sequences.seen(1, 1, 10, 10, COUNT), "a block that was here is told of later"
    assert sequences.seen(1, 1, 18, 18, COUNT) == range(19, 28), "those before it were here"
    assert not sequences.seen(1, 1, 14, 17, COUNT)
    assert sequences.seen(1, 1, 28, 28, COUNT) == range(29, 48)


def test_late_news_of_the_row_before_do_not_end_the_new_one() -> None:
    sequences = Sequences()
    for block in range(10):
        sequences.seen(1, 1, block, block, COUNT)
    assert not sequences.seen(1, 1, 5000, 5002, COUNT)
    assert not sequences.seen(1, 1, 9, 9, COUNT)
    assert sequences.seen(1, 1, 5003, 5003, COUNT) == range(5004, 5008)


def test_nothing_behind_the_end_is_asked_for() -> None:
    sequences = Sequences()
    asked = [sequences.seen(1, 1, block, block, 10) for block in range(10)]
    assert max((ahead.stop for ahead in asked if ahead), default=0) == 10


def test_who_begins_at_the_end_gets_the_end_in_one_piece_and_little_of_the_archive() -> None:
    sequences = Sequences()
    ahead = sequences.seen(1, 1, 1999, 1999, 2000)
    assert ahead.stop == 1999
    assert 1 < len(ahead) + 1 <= 2000 / 200
    assert not sequences.seen(2, 1, 9, 9, 10), "a small archive is no reason"


def test_readers_do_not_disturb_each_other() -> None:
    sequences = Sequences()
    for block in range(50):
        sequences.seen(1, 1, block, block, COUNT)
        sequences.seen(1, 2, 9000 - block * 7, 9000 - block * 7, COUNT)
    assert any(sequences.seen(1, 1, block, block, COUNT) for block in range(50, 150))
