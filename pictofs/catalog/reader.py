"""The reading side: what the serving process looks at while the fetching process writes."""

from __future__ import annotations

import sqlite3
from os import PathLike, fspath

from pictofs.catalog.connected import check_schema, connect, unusable
from pictofs.catalog.read_blocks import BlockReads
from pictofs.catalog.read_datasets import DatasetReads
from pictofs.catalog.read_members import MemberReads
from pictofs.catalog.read_order import OrderReads
from pictofs.catalog.read_usage import UsageReads
from pictofs.catalog.read_views import ViewReads


class CatalogReader(DatasetReads, ViewReads, BlockReads, OrderReads, MemberReads, UsageReads):
    """Every question to the catalog; each is one short read transaction of at most `limit` rows.

    For one thread at a time. Failures of SQLite are `CacheUnusable`; a pk that does not exist is None. When
    `replaced()` says so the file was damaged and begun anew: close and open again.
    """

    @classmethod
    def open(cls, path: str | PathLike[str]) -> CatalogReader:
        """Opens an existing catalog read-only, without a scan.

        CacheUnusable: missing, damaged or of another version.
        """
        text = fspath(path)
        try:
            db = connect(text, read_only=True)
            try:
                check_schema(text, db)
            except BaseException:
                db.close()
                raise
        except sqlite3.Error as error:
            raise unusable(text, error) from error
        return cls(text, db)
