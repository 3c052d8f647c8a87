"""`LookaheadSampler`: announces the order of an epoch before it begins. PyTorch is optional, also here.

    loader = DataLoader(dataset, sampler=LookaheadSampler(RandomSampler(dataset), dataset))

Any sampler will do, also one of batches or a DistributedSampler: what it yields passes unchanged. Paths come
from `paths`: a sequence or a callable from index to path (or to several paths of one sample), or a dataset
with torchvision's `samples` or `imgs`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any

import pictofs
from pictofs.errors import PictofsError

if TYPE_CHECKING:
    _Base = object
else:
    try:
        from torch.utils.data import Sampler as _Base
    except ImportError:  # a sampler is anything that can be iterated
        _Base = object

_log = logging.getLogger(__name__)


class LookaheadSampler(_Base):
    """Wraps `sampler`; each iteration draws its whole order, announces the paths, and then yields it.

    What cannot be announced (paths on no mount, a mount that has gone) costs a warning and no epoch. `advise`
    is `pictofs.advise` unless given.
    """

    def __init__(
        self, sampler: Iterable[Any], paths: Any, *, advise: Callable[[list[str]], int] | None = None
    ) -> None:
        self.sampler = sampler
        self._paths = _paths_of(paths)
        self._advise = pictofs.advise if advise is None else advise

    def __iter__(self) -> Iterator[Any]:
        order = list(self.sampler)
        try:
            self._advise([path for item in order for path in self._of(item)])
        except PictofsError as error:
            _log.warning("the order of this epoch was not announced: %s", error)
        yield from order

    def __len__(self) -> int:
        assert isinstance(self.sampler, Sized)
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        """What the wrapped sampler has beyond this (`set_epoch`, `batch_size`)."""
        if name.startswith("__") or name == "sampler":
            raise AttributeError(name)
        return getattr(self.sampler, name)

    def _of(self, item: Any) -> Iterator[str]:
        """The paths of an index, or of a batch of them."""
        if isinstance(item, list | tuple):
            for each in item:
                yield from self._of(each)
            return
        found = self._paths(item)
        if isinstance(found, str | os.PathLike):
            yield os.fspath(found)
        else:
            yield from (os.fspath(path) for path in found)


def _paths_of(source: Any) -> Callable[[Any], Any]:
    """From an index to its path or paths."""
    if callable(source):
        return lambda index: source(index)
    samples = getattr(source, "samples", None) or getattr(source, "imgs", None)
    if samples is not None:
        return lambda index: samples[int(index)][0]
    return lambda index: source[int(index)]
