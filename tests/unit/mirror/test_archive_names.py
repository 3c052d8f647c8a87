"""Names of members: whatever an archive holds, the tree is safe, and the names tell what was there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictofs import names
from pictofs.catalog.model import MemberFacts
from pictofs.errors import ArchiveTooLarge
from pictofs.mirror.archive_names import Entry, Placed


def placed(*given: str, limit: int = 1000) -> list[MemberFacts]:
    found = Placed([Entry(name) for name in given], limit)
    facts = list(found.facts())
    assert len(facts) == found.count
    return facts


def paths(facts: list[MemberFacts], *, directories: bool = True) -> list[str]:
    """Every path of the tree; that of a directory ends in a slash."""

    def path(at: int) -> str:
        one = facts[at]
        above = f"{path(one.parent)}/" if one.parent >= 0 else ""
        return above + one.file_name

    return [
        path(at) + ("/" if one.method is None else "")
        for at, one in enumerate(facts)
        if directories or one.method is not None
    ]


@pytest.mark.parametrize(
    ("inside", "shown"),
    [
        ("a/b.txt", "a/b.txt"),
        ("/etc/passwd", "%/etc/passwd"),
        ("../../evil", "%2E%2E/%2E%2E/evil"),
        ("./here", "%2E/here"),
        ("a//b", "a/%/b"),
        ("a\\b", "a\\b"),
        ("C:\\x", "C:\\x"),
        ("nul\0byte", "nul%00byte"),
        ("", "%"),
        ("100%41", "100%2541"),
        ("größe/写真.jpg", "größe/写真.jpg"),
    ],
)
def test_a_hostile_name_becomes_a_safe_one_that_decodes_again(inside: str, shown: str) -> None:
    (only,) = paths(placed(inside), directories=False)
    assert only == shown
    assert "/".join(names.decode(part) for part in only.split("/")) == inside


def test_members_come_in_the_order_of_the_archive_and_directories_after_them() -> None:
    assert paths(placed("z", "d/a", "d/", "e/")) == ["z", "d/a", "d/", "e/"]


def test_of_twins_the_first_keeps_the_plain_name() -> None:
    first, second, third = paths(placed("a.txt", "a.txt", "a.txt"))
    assert first == "a.txt"
    assert second.startswith("a~")
    assert second.endswith(".txt")
    assert len({first, second, third}) == 3


def test_a_directory_keeps_its_name_where_a_file_has_the_same() -> None:
    facts = placed("a", "a/b")
    file, inner, directory = paths(facts)
    assert (inner, directory) == ("a/b", "a/")
    assert file.startswith("a~")
    assert facts[0].plain == "a", "the name in the archive is kept beside a marked one"


def test_a_name_that_is_too_long_is_cut_and_kept_beside() -> None:
    facts = placed("x" * 300 + ".jpg", "y" * 300 + "/z")
    assert all(len(one.file_name.encode()) <= names.LIMIT_BYTES for one in facts)
    assert facts[0].plain == "x" * 300 + ".jpg"
    assert facts[2].plain == "y" * 300


def test_too_many_members_are_refused() -> None:
    assert len(placed("a", "b", limit=2)) == 2
    with pytest.raises(ArchiveTooLarge):
        placed("a", "b", "c", limit=2)
    with pytest.raises(ArchiveTooLarge):
        placed("a/b/c/d", limit=2)


PARTS = st.sampled_from(["", ".", "..", "a", "a~1", "b.txt", "é", "x" * 256, "%", "%2E", "a\\b", "\0"])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=12))
def test_whatever_is_in_it_every_path_is_one_member_and_lies_within(inside: list[str]) -> None:
    facts = placed(*inside)
    found = paths(facts)
    assert len({path.rstrip("/") for path in found}) == len(found)
    assert sum(one.method is not None for one in facts) == sum(not n.endswith("/") for n in inside)
    for one in facts:
        assert one.file_name not in ("", ".", "..")
        assert not set("/\0") & set(one.file_name)
        assert len(one.file_name.encode()) <= names.LIMIT_BYTES
        assert one.parent < 0 or facts[one.parent].method is None
