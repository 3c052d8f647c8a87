"""What exists: listings, sizes, versions, names given and the paths of blocks, in one SQLite file.

`Catalog` writes (the fetching process, one thread), `CatalogReader` reads (the serving process). Opening
either scans nothing. `model` holds the rows that both speak in.
"""

from pictofs.catalog.catalog import Catalog
from pictofs.catalog.read_blocks import JOINABLE, JOINED, first_block
from pictofs.catalog.reader import CatalogReader

__all__ = ["JOINABLE", "JOINED", "Catalog", "CatalogReader", "first_block"]
