"""Which letter stands for which dialect."""

from __future__ import annotations

from pictofs.emulator.dialect import Dialect
from pictofs.emulator.dialect_a import DialectA
from pictofs.emulator.dialect_b import DialectB
from pictofs.emulator.dialect_c import DialectC
from pictofs.emulator.service import Service


def dialect_of(letter: str, service: Service) -> Dialect:
    """The dialect of this letter, speaking of this service."""
    classes: dict[str, type[Dialect]] = {"a": DialectA, "b": DialectB, "c": DialectC}
    return classes[letter](service)
