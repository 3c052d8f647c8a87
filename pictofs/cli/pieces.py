"""What `pictofs install` writes, and where: for the machine as root, for oneself as anybody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pictofs.mount import installation
from pictofs.mount.installation import Piece

HELPER = Path("/sbin/mount.pictofs")


def of(python: str, environ: Mapping[str, str], *, machine: bool) -> Iterator[Piece]:
    """Every piece, in the order in which it is written."""
    if machine:
        yield Piece(HELPER, installation.helper(python), 0o755)
