"""The pool of signed URLs, on a clock of its own."""

from __future__ import annotations

import pytest

from pictofs.api import Link, Links
from pictofs.catalog.model import DatasetRow, ImageRow
from pictofs.mirror.links import (
    DEFAULT_LIFE_S,
    LATE_BATCHES,
    REFUSAL_SPACING_S,
    THINNED_SPACING_S,
    LinkPool,
    Scope,
    life_s,
    sound,
)

from .rows import NOW_NS, dataset, image

WALL_S = NOW_NS / 1e9
ALL = Scope("images", 1)
NEW = Scope("images", 1, "new")


def asked(pool: LinkPool, row: DatasetRow, of: ImageRow, cap: int | None) -> Scope | None:
    """The batch worth asking for now."""
    wanted = pool.wanted(row, of, cap)
    return wanted.scope if wanted and not wanted.wait_s else None


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(clock: Clock) -> LinkPool:
    return LinkPool(clock=clock, wall_s=lambda: WALL_S + clock.now_s)


def links(*ids: str, life: float | None = 3600.0, clock: Clock | None = None) -> Links:
    ends = None if life is None else WALL_S + (clock.now_s if clock else 0.0) + life
    items = [Link(url=f"http://s/{one}?sig", id=one, filename=f"{one}.jpg") for one in ids]
    return Links(items=items, expires_s=ends)


def test_a_url_is_found_by_id_and_used_for_nine_tenths_of_its_life(pool: LinkPool, clock: Clock) -> None:
    pool.fill(ALL, links("i1"), NOW_NS, whole=True)
    signed = pool.url(image(remote_id="i1"), lambda _: "/")
    assert signed is not None
    assert signed.url == "http://s/i1?sig"
    clock.now_s = 3239
    assert pool.url(image(remote_id="i1"), lambda _: "/") == signed
    clock.now_s = 3241
    assert pool.url(image(remote_id="i1"), lambda _: "/") is None
    assert asked(pool, dataset(), image(remote_id="i1"), 10_000) == ALL


def test_urls_of_a_batch_that_was_signed_over_a_while_end_one_after_the_other(
    pool: LinkPool, clock: Clock
) -> None:
    items = [Link(url=f"u{n}", id=f"i{n}", expires_s=WALL_S + 1 + n) for n in range(2)]
    pool.fill(ALL, Links(items=items, expires_s=WALL_S + 1), NOW_NS, whole=True)
    clock.now_s = 0.95
    assert pool.url(image(remote_id="i0"), lambda _: "/") is None
    assert pool.url(image(remote_id="i1"), lambda _: "/") is not None
    assert asked(pool, dataset(), image(remote_id="i0"), 10_000) == ALL


def test_the_state_counts_the_urls_that_are_good_and_tells_when_the_first_of_them_end(
    pool: LinkPool, clock: Clock
) -> None:
    assert pool.state() == (0, None)
    pool.fill(ALL, links("i1", "i2"), NOW_NS, whole=True)
    pool.fill(NEW, links("i3", life=360.0), NOW_NS, whole=True)
    assert pool.state() == (3, 324.0)
    clock.now_s = 325
    assert pool.state() == (2, 2915.0)


def test_no_repr_shows_a_url(pool: LinkPool) -> None:
    pool.fill(ALL, links("i1"), NOW_NS, whole=True)
    assert "sig" not in repr(pool.url(image(remote_id="i1"), lambda _: "/"))


def test_without_ids_links_are_matched_by_directory_and_name() -> None:
    items = [
        Link(url="u1", filename="a.jpg", directory_path="/x"),
        Link(url="u2", filename="a.jpg", directory_path="/y/"),
    ]
    pool = LinkPool()
    pool.fill(ALL, Links(items=items), NOW_NS, whole=False)
    for path, url in (("/x", "u1"), ("/y", "u2")):
        signed = pool.url(image(remote_id="i9", remote_name="a.jpg"), lambda _, path=path: path)
        assert signed is not None
        assert signed.url == url


def test_a_bare_name_names_an_image_only_where_the_batch_is_whole_and_has_it_once() -> None:
    told = [("u1", "a.jpg"), ("u2", "a.jpg"), ("u3", "b.jpg")]
    twins = [Link(url=url, filename=name) for url, name in told]
    assert [link.url for link in sound(twins, True).values()] == ["u3"]
    assert sound(twins, False) == {}


def test_a_dataset_within_the_cap_is_asked_for_at_once_and_a_larger_one_by_status(pool: LinkPool) -> None:
    assert asked(pool, dataset(image_count=10_000), image(), 10_000) == ALL
    assert asked(pool, dataset(image_count=10_001), image(status="new"), 10_000) == NEW
    assert asked(pool, dataset(image_count=10_001), image(status=""), 10_000) == ALL
    assert asked(pool, dataset(image_count=10_001), image(status="new"), None) == ALL


def test_a_batch_cut_short_leads_to_the_status_and_a_whole_one_to_nothing(pool: LinkPool) -> None:
    pool.fill(ALL, links("i2"), NOW_NS, whole=False)
    assert asked(pool, dataset(), image(status="new"), 10_000) == NEW
    pool.fill(NEW, links("i3"), NOW_NS, whole=True)
    assert asked(pool, dataset(), image(status="new"), 10_000) is None
    pool.fill(ALL, links("i2"), NOW_NS, whole=True)
    assert asked(pool, dataset(), image(status="review"), 10_000) is None


def test_an_image_listed_after_the_batch_is_worth_another_batch(pool: LinkPool) -> None:
    pool.fill(ALL, links("i2"), NOW_NS, whole=True)
    assert asked(pool, dataset(listed_ns=NOW_NS - 1), image(), 10_000) is None
    assert asked(pool, dataset(listed_ns=NOW_NS + 1), image(), 10_000) == ALL


def test_a_refused_url_takes_its_batch_with_it_not_a_newer_one(pool: LinkPool, clock: Clock) -> None:
    pool.fill(ALL, links("i1", "i2"), NOW_NS, whole=True)
    signed = pool.url(image(remote_id="i1"), lambda _: "/")
    assert signed is not None
    pool.refused(signed)
    assert pool.url(image(remote_id="i2"), lambda _: "/") is None
    pool.fill(ALL, links("i1", "i2", clock=clock), NOW_NS, whole=True)
    pool.refused(signed)
    assert pool.url(image(remote_id="i1"), lambda _: "/") is not None


def test_a_batch_that_had_worked_is_replaced_at_once_and_one_that_never_did_after_a_backoff(
    pool: LinkPool, clock: Clock
) -> None:
    for failures in range(1, 4):
        pool.fill(ALL, links("i1", clock=clock), NOW_NS, whole=True)
        signed = pool.url(image(remote_id="i1"), lambda _: "/")
        assert signed is not None
        pool.refused(signed)
        wanted = pool.wanted(dataset(), image(), 10_000)
        assert wanted is not None
        assert wanted.wait_s == pytest.approx(REFUSAL_SPACING_S * 2 ** (failures - 1))
        clock.now_s += wanted.wait_s
        assert asked(pool, dataset(), image(), 10_000) == ALL
    pool.fill(ALL, links("i1", clock=clock), NOW_NS, whole=True)
    signed = pool.url(image(remote_id="i1"), lambda _: "/")
    assert signed is not None
    pool.worked(signed)
    pool.refused(signed)
    assert asked(pool, dataset(), image(), 10_000) == ALL


def test_a_batch_that_was_over_when_it_came_is_replaced_at_once_but_not_for_ever(
    pool: LinkPool, clock: Clock
) -> None:
    def late() -> float:
        """A batch of no life, refused; how long until the next is worth it."""
        pool.fill(ALL, links("i1", life=-0.1, clock=clock), NOW_NS, whole=True)
        assert not pool.alive(ALL)
        signed = pool.url(image(remote_id="i1"), lambda _: "/")
        assert signed is not None, "the storage host is the judge"
        assert pool.refused(signed)
        wanted = pool.wanted(dataset(), image(), 10_000)
        assert wanted is not None
        return wanted.wait_s

    assert [late() for _ in range(LATE_BATCHES)] == [0.0] * LATE_BATCHES
    assert [late(), late()] == pytest.approx([REFUSAL_SPACING_S, 2 * REFUSAL_SPACING_S])
    pool.fill(ALL, links("i1", clock=clock), NOW_NS, whole=True)
    assert pool.alive(ALL)
    signed = pool.url(image(remote_id="i1"), lambda _: "/")
    assert signed is not None
    pool.worked(signed)
    assert late() == 0.0


def test_an_early_refusal_is_told_from_one_that_comes_after_the_batch_is_over_or_replaced(
    pool: LinkPool, clock: Clock
) -> None:
    pool.fill(ALL, links("i1", "i2"), NOW_NS, whole=True)
    one, other = (pool.url(image(remote_id=which), lambda _: "/") for which in ("i1", "i2"))
    assert one is not None
    assert other is not None
    assert not pool.refused(one)
    assert not pool.refused(other), "another of a batch that was refused early"
    pool.fill(ALL, links("i1"), NOW_NS, whole=True)
    assert pool.refused(other)


def test_a_batch_in_use_is_renewed_before_its_end_by_as_much_as_its_answer_takes(
    pool: LinkPool, clock: Clock
) -> None:
    for took_s, renew_s in ((0.0, 2916.0), (1000.0, 1740.0)):
        begun_s = clock.now_s
        pool.fill(ALL, links("i1", clock=clock), NOW_NS, whole=True, took_s=took_s)
        signed = pool.url(image(remote_id="i1"), lambda _: "/")
        assert signed is not None
        clock.now_s = begun_s + renew_s - 1
        assert not pool.due(signed)
        clock.now_s = begun_s + renew_s + 1
        assert pool.due(signed)


def test_a_pool_too_small_for_its_batches_asks_again_after_a_while(clock: Clock) -> None:
    pool = LinkPool(capacity=2, clock=clock, wall_s=lambda: WALL_S + clock.now_s)
    pool.fill(ALL, links("i1", "i2", "i3"), NOW_NS, whole=True)
    found = [pool.url(image(remote_id=one), lambda _: "/") is not None for one in ("i1", "i2", "i3")]
    assert found.count(True) == 2
    assert asked(pool, dataset(), image(), 10_000) is None
    clock.now_s = THINNED_SPACING_S
    assert asked(pool, dataset(), image(), 10_000) == ALL


def test_an_export_s_url_is_kept_by_itself_and_forgotten_when_refused(pool: LinkPool, clock: Clock) -> None:
    scope = Scope("export", 1)
    assert pool.single(scope) is None
    signed = pool.keep(scope, Link(url="u"), WALL_S + 100)
    assert pool.single(scope) == signed
    pool.refused(signed)
    assert pool.single(scope) is None
    pool.keep(scope, Link(url="u"), WALL_S + 100)
    clock.now_s = 91
    assert pool.single(scope) is None


def test_a_url_s_life_is_what_is_left_of_it_never_nothing() -> None:
    assert life_s(None, WALL_S) == DEFAULT_LIFE_S
    assert life_s(WALL_S + 60, WALL_S) == 60
    assert 0 < life_s(WALL_S - 60, WALL_S) <= 1
