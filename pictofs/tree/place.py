"""What every kind of node can be asked, and the refusals of those that cannot answer.

A place stands for all nodes of its kind: it holds no node, only how to read one from the catalog.
"""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from pictofs.catalog.model import ROOT_NODE
from pictofs.tree.facts import Attr, DirEntry, Entry, File
from pictofs.tree.need import Asked


def refuse(number: int) -> NoReturn:
    """Ends the operation in an errno."""
    raise OSError(number, os.strerror(number))


class Place:
    """Answers for the nodes of one kind. Each operation may raise Need, OSError or a PictofsError."""

    def lookup(self, node: int, name: str, asked: Asked) -> Entry:
        """The entry of `name` in the directory `node`."""
        refuse(errno.ENOTDIR)

    def getattr(self, node: int, asked: Asked) -> Attr:
        """The attributes, the size exact."""
        raise NotImplementedError

    def readdir(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """At most `limit` entries behind `cookie`."""
        refuse(errno.ENOTDIR)

    def names(self, node: int, cookie: int, limit: int, asked: Asked) -> list[DirEntry]:
        """The same, perhaps without attributes: for who asks for names alone."""
        return self.readdir(node, cookie, limit, asked)

    def readlink(self, node: int) -> bytes:
        """The target."""
        refuse(errno.EINVAL)

    def file(self, node: int, asked: Asked) -> File:
        """What reading needs to know."""
        refuse(errno.EISDIR)

    def xattrs(self, node: int) -> dict[str, str]:
        """What `user.pictofs.*` says; values that are not known are left out."""
        return {}

    def parent(self, node: int) -> int:
        """The node of `..`, for directories."""
        return ROOT_NODE

    def organization(self, node: int) -> int:
        """The pk of the organization that the node belongs to; 0 for none."""
        return 0
