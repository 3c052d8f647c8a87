"""Annotations: `client.annotations`."""

from __future__ import annotations

from pictofs.api.address import Address
from pictofs.api.datasets import path_names
from pictofs.api.dialect import image_path
from pictofs.api.documents import load, render
from pictofs.api.images import Images
from pictofs.api.models import Dataset, Image
from pictofs.api.service import Service
from pictofs.api.shapes import Annotation, drawn
from pictofs.api.transport import Request
from pictofs.errors import ServerFault


class Annotations:
    """The annotations of an image, one API request each."""

    def __init__(self, service: Service, address: Address, images: Images) -> None:
        self._service = service
        self._address = address
        self._images = images

    def get(
        self, dataset_name: Dataset | str, image: Image | str, directory_path: str | None = None
    ) -> bytes:
        """The body as the mount shows it: `document` of what the service sends.

        A text names the image by its id or its file name, as for `images.get`. A and B ask by the image's
        id; C by its `annotation_url` where it has one, of which only path and query count, else by the names
        of dataset, directory and file. NotFound.
        """
        dataset = self._images.datasets.resolve(dataset_name)
        if isinstance(image, str):
            image = self._images.get(dataset, image, directory_path)
        return self._service.fetch(self.request(dataset, image), lambda answer: self.document(answer.body))

    def request(self, dataset: Dataset, image: Image) -> Request:
        """The request for a body, for who sends it another way: `Client.hand_out`."""
        dialect = self._service.dialect
        if dialect.letter == "c" and image.annotation_url:
            path = self._address.endpoint(image.annotation_url)
        else:
            names = {"image": image.id, "image_path": image_path(image.directory_path, image.filename)}
            path = dialect.path("annotations", **path_names(dataset), **names)
        return Request("GET", path)

    def list(
        self, dataset_name: Dataset | str, image: Image | str, directory_path: str | None = None
    ) -> list[Annotation]:
        """What is drawn on the image, read from the same body."""
        return drawn(self.get(dataset_name, image, directory_path))

    @staticmethod
    def document(body: bytes) -> bytes:
        """A body rendered: two-space indented, keys in the service's order, a newline at the end.

        ServerFault where it is no JSON object or array.
        """
        value = load(body)
        if not isinstance(value, dict | list):
            raise ServerFault("an annotation body is neither an object nor an array", status=200)
        return render(value)
