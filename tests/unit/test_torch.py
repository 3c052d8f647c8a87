"""The sampler that announces an epoch, over samplers of all kinds, PyTorch's where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pictofs.errors import NotMounted
from pictofs.torch import LookaheadSampler


class Shuffled:
    """Another order each epoch, as DistributedSampler has it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        return iter([(n * 7 + self.epoch) % self.count for n in range(self.count)])

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


class Announced(list[list[str]]):
    def __call__(self, paths: list[str]) -> int:
        self.append(paths)
        return len(paths)


PATHS = [f"/mnt/{n}.jpg" for n in range(10)]


def test_each_epoch_announces_the_order_that_it_yields() -> None:
    told = Announced()
    sampler = LookaheadSampler(Shuffled(10), PATHS, advise=told)
    assert len(sampler) == 10
    for epoch in range(2):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert told[-1] == [PATHS[index] for index in order]
    assert told[0] != told[1]


def test_batches_pass_unchanged_and_are_announced_flat() -> None:
    told = Announced()
    batches = [[3, 1], [2, 0]]
    assert list(LookaheadSampler(batches, PATHS, advise=told)) == batches
    assert told == [[PATHS[3], PATHS[1], PATHS[2], PATHS[0]]]


def test_paths_come_from_a_dataset_or_a_function() -> None:
    told = Announced()
    folder = SimpleNamespace(samples=[(path, 0) for path in PATHS])
    assert list(LookaheadSampler([4], folder, advise=told)) == [4]
    pairs = LookaheadSampler([5], lambda n: (PATHS[n], f"{PATHS[n]}.json"), advise=told)
    assert list(pairs) == [5]
    assert told == [[PATHS[4]], [PATHS[5], "/mnt/5.jpg.json"]]


def test_an_order_that_cannot_be_announced_is_yielded_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(paths: list[str]) -> int:
        raise NotMounted("nothing of ours is there")

    with caplog.at_level(logging.WARNING):
        assert list(LookaheadSampler([1, 2], PATHS, advise=refuse)) == [1, 2]
    assert "nothing of ours is there" in caplog.text


def test_pytorch_takes_it_for_a_sampler() -> None:
    data = pytest.importorskip("torch.utils.data", reason="NOT TESTED with PyTorch: it is not installed")
    told = Announced()
    loader = data.DataLoader(PATHS, sampler=LookaheadSampler(data.RandomSampler(PATHS), PATHS, advise=told))
    assert [path for (path,) in loader] == told[0]
