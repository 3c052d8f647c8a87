"""The serving process' view of an organization: nodes, names, attributes, children. No FUSE, no HTTP."""

from pictofs.tree.control import ControlFile
from pictofs.tree.exports import ARCHIVE
from pictofs.tree.freshness import Freshness
from pictofs.tree.need import NOTHING_ASKED, Asked, Key, Need, key_of
from pictofs.tree.organizations import Root
from pictofs.tree.tree import Tree, organization_node

__all__ = [
    "ARCHIVE",
    "NOTHING_ASKED",
    "Asked",
    "ControlFile",
    "Freshness",
    "Key",
    "Need",
    "Root",
    "Tree",
    "key_of",
    "organization_node",
]
