from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from pictofs.emulator.identity import IndexedIds, iso, looks_like_id, named_id, slug_of


@given(st.integers(0, 2**64 - 1))
def test_an_id_of_an_index_is_a_uuid_and_leads_back_to_it(index: int) -> None:
    ids = IndexedIds("one")
    text = ids.id_of(index)
    assert str(uuid.UUID(text)) == text
    assert ids.index_of(text) == index
    assert ids.index_of(text.upper()) == index


@given(st.integers(0, 2**64 - 1))
def test_an_id_of_another_dataset_is_not_mistaken_for_ours(index: int) -> None:
    assert IndexedIds("two").index_of(IndexedIds("one").id_of(index)) is None


def test_what_is_no_uuid_has_no_index() -> None:
    assert IndexedIds("one").index_of("scene_1.jpg") is None
    assert IndexedIds("one").index_of(named_id("anything")) is None
    assert not looks_like_id(named_id("x") + "-backup")


@given(st.text())
def test_a_slug_is_ascii_and_never_the_name(name: str) -> None:
    slug = slug_of(name, "0123456789")
    assert slug != name
    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_times_end_in_z_and_show_a_fraction_only_where_there_is_one() -> None:
    assert iso(1_705_314_600_000_000) == "2024-01-15T10:30:00Z"
    assert iso(1_705_314_600_000_007) == "2024-01-15T10:30:00.000007Z"
