"""`Downloads`: what a client hands its orders to."""

from __future__ import annotations

from pathlib import Path

from pictofs.api import Client, DownloadReport
from pictofs.api.downloads import DatasetOrder, ExportOrder, Network
from pictofs.download.dataset import DatasetDownload
from pictofs.download.export import ExportDownload
from pictofs.storage import Carrier, Transfers


class Downloads:
    """Carries out orders over transfers that take the client's own way into the network.

    `bandwidth_bytes_s` bounds each download.
    """

    def __init__(self, *, bandwidth_bytes_s: float | None = None) -> None:
        self._bandwidth_bytes_s = bandwidth_bytes_s

    def dataset(self, client: Client, order: DatasetOrder) -> DownloadReport:
        """See api.downloads.Downloads."""
        return DatasetDownload(client, order, lambda most: self._carrier(client.network, most)).run()

    def export(self, client: Client, order: ExportOrder) -> Path:
        """See api.downloads.Downloads."""
        return ExportDownload(client, order, lambda: self._carrier(client.network, 1)).run()

    def _carrier(self, network: Network, connections: int) -> Carrier:
        return Transfers(
            connections=connections,
            timeout_s=network.timeout_s,
            ca_file=network.ca_file,
            proxy=network.proxy,
            bandwidth_bytes_s=self._bandwidth_bytes_s,
        )
