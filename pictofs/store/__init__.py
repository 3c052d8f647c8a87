"""The bytes we have: blocks of versions of objects, as files under `<cache_dir>/store`.

The fetching process alone opens it. Readers open the files by the paths that the catalog holds. A failure
here is a miss: no reader ever gets an error because a disk was full.
"""

from pictofs.store.disk import Written
from pictofs.store.eviction import POLICIES, Candidate, victims
from pictofs.store.filesystem import default_limits, kind_of_file_system, refuse_network
from pictofs.store.store import Store

__all__ = [
    "POLICIES",
    "Candidate",
    "Store",
    "Written",
    "default_limits",
    "kind_of_file_system",
    "refuse_network",
    "victims",
]
