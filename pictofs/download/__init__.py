"""Datasets and exports as plain files on this machine: what `pictofs download` and the library's calls do.

    downloads   Downloads, which carries out the orders of a client
    dataset     a whole dataset: signed URLs, transfers and API calls at once, and the report
    export      one archive, resumed where an earlier call stopped
    placing     which files, under which names; pure
    signing     signed URLs by the batch, while they are good
    setbacks    when a host is given up; pure
    calling     API calls in threads
    folder      a dataset's folder: one writer, files that appear whole
"""

from pictofs.download.downloads import Downloads

__all__ = ["Downloads"]
