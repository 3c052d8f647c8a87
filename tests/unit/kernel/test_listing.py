"""Directories as the kernel reads them, page by page."""

from __future__ import annotations

from pathlib import Path

import pytest

from pictofs.drivers.kernel.listing import PAGE_ROWS, Listings
from tests.benchmarks.folder import FolderVfs
from tests.unit.kernel.test_replies import rows_in

COUNT = PAGE_ROWS * 2 + 500


class Counting(FolderVfs):
    """Counts how often it was asked."""

    asked = 0
    names_only = False

    def readdir(self, *arguments: object, names_only: bool = False) -> None:
        self.asked += 1
        self.names_only = names_only
        super().readdir(*arguments, names_only=names_only)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("many")
    for number in range(COUNT):
        (made / f"{number:05}").touch()
    return made


@pytest.fixture
def vfs(folder: Path) -> Counting:
    return Counting(str(folder))


def page(listings: Listings, cookie: int, size: int, plus: bool) -> list[tuple[str, int, int]]:
    answers: list[bytes] = []
    listings.read(1, cookie, size, plus, answers.append, lambda number: pytest.fail(str(number)))
    return rows_in(answers[0], plus)


@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize("size", [4096, 32768, 1 << 20])
def test_every_name_comes_once_at_the_price_of_a_few_questions(vfs: Counting, plus: bool, size: int) -> None:
    listings, cookie, found = Listings(vfs), 0, []
    while rows := page(listings, cookie, size, plus):
        found += [name for name, _, _ in rows]
        cookie = rows[-1][1]
    assert found == [".", "..", *(f"{number:05}" for number in range(COUNT))]
    assert vfs.asked <= COUNT // PAGE_ROWS + 2
    vfs.close()


def test_two_readers_of_one_directory_do_not_disturb_each_other(vfs: Counting) -> None:
    listings = Listings(vfs)
    one, other = page(listings, 0, 4096, False), page(listings, 0, 8192, False)
    assert other[: len(one)] == one
    following = page(listings, one[-1][1], 4096, False)
    assert following[0][0] == other[len(one)][0]
    vfs.close()


def test_what_was_kept_is_forgotten_when_the_directory_changes_and_after_a_moment(vfs: Counting) -> None:
    now_s = [0.0]
    listings = Listings(vfs, lambda: now_s[0])
    for forget in (lambda: listings.changed([1]), lambda: now_s.__setitem__(0, now_s[0] + 3.0)):
        first = page(listings, 0, 4096, False)
        asked = vfs.asked
        page(listings, first[-1][1], 4096, False)
        assert vfs.asked == asked
        first = page(listings, 0, 4096, False)
        asked = vfs.asked
        forget()
        page(listings, first[-1][1], 4096, False)
        assert vfs.asked == asked + 1
    vfs.close()


def test_readers_that_went_away_are_not_remembered_for_ever(vfs: Counting) -> None:
    listings = Listings(vfs)
    rows = page(listings, 0, 1 << 20, False)
    for _, cookie, _ in rows[2:200]:
        page(listings, cookie, 4096, False)
    assert len(listings._rests) <= 64
    vfs.close()


def test_who_asks_for_attributes_behind_names_alone_gets_them(vfs: Counting) -> None:
    listings = Listings(vfs)
    rows = page(listings, 0, 4096, plus=False)
    assert vfs.names_only
    rows = page(listings, rows[-1][1], 4096, plus=True)
    assert all(node for _, _, node in rows)
    assert (vfs.asked, vfs.names_only) == (2, False)
    assert page(listings, rows[-1][1], 4096, plus=False)  # attributes too many are no reason to ask again
    assert vfs.asked == 2
    vfs.close()
