"""Positions of images in their dataset."""

from __future__ import annotations

from pictofs.mirror.lookahead import Axis
from pictofs.mirror.order import Order


def test_an_image_stands_at_two_positions() -> None:
    order = Order([(1, [30, 10]), (1, [20]), (2, [5, 40])])
    assert len(order) == 5
    assert [order.positions(pk) for pk in (30, 10, 20, 5, 40)] == [(0, 2), (1, 0), (2, 1), (3, 3), (4, 4)]
    assert order.positions(11) is None
    assert order.along(Axis.NAMES, range(0, 5, 2)) == [30, 20, 40]
    assert order.along(Axis.INODES, range(5)) == [10, 20, 30, 5, 40]


def test_by_inode_subdirectories_come_where_their_number_stands_as_cp_takes_them() -> None:
    # readdir: the subdirectories 7 (with 9 in it) and 8, then the images of the root, which is 1
    pages = [(9, [70]), (7, [60, 50]), (8, [5, 40]), (1, [3, 100])]
    order = Order(pages, {1: 0, 7: 1, 8: 1, 9: 7})
    assert order.along(Axis.NAMES, range(7)) == [70, 60, 50, 5, 40, 3, 100]
    assert order.along(Axis.INODES, range(7)) == [3, 70, 50, 60, 5, 40, 100]
    assert [order.positions(pk) for pk in (70, 100)] == [(0, 1), (6, 6)]


def test_an_empty_dataset_has_no_positions() -> None:
    order = Order([])
    assert len(order) == 0
    assert order.positions(1) is None


def test_a_million_images_take_forty_megabytes() -> None:
    order = Order([(1, range(100_000, 0, -1)), (2, range(100_001, 150_001))])
    arrays = (order.pks, order._sorted, order._by_name, order._inodes, order._by_inode)
    assert sum(each.itemsize * len(each) for each in arrays) == 40 * len(order)
    assert order.positions(100_000) == (0, 99_999)
