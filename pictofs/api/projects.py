"""Writing datasets: `client.projects`. The service calls a dataset a project where it is written (B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pictofs.api import models
from pictofs.api.datasets import Datasets, path_names
from pictofs.api.models import Dataset
from pictofs.api.service import Service
from pictofs.errors import UsageError


class Projects:
    """Creating, changing and deleting datasets. Dialect A has no such endpoints: UsageError."""

    def __init__(self, service: Service, datasets: Datasets) -> None:
        self._service = service
        self._datasets = datasets

    def create(
        self,
        name: str,
        *,
        description: str | None = None,
        annotation_types: Sequence[str] | None = None,
        classes: Sequence[Mapping[str, Any]] | None = None,
    ) -> Dataset:
        """A new, empty dataset. Conflict where the name is taken, PlanLimit, Forbidden, Unprocessable."""
        body = {"name": name, **_fields(description, annotation_types, classes)}
        return models.dataset(self._service.write("POST", "new dataset", {}, body))

    def update(
        self,
        dataset: Dataset | str,
        *,
        new_name: str | None = None,
        description: str | None = None,
        annotation_types: Sequence[str] | None = None,
        classes: Sequence[Mapping[str, Any]] | None = None,
    ) -> Dataset:
        """Change what is given; `classes` replaces the whole list. NotFound, Conflict, Forbidden."""
        body = _fields(description, annotation_types, classes)
        if new_name is not None:
            body[self._service.dialect.rename_field] = new_name
        if not body:
            raise UsageError("there is nothing to change: give a new name, a description, types or classes")
        names = path_names(self._datasets.resolve(dataset))
        return models.dataset(self._service.write("PATCH", "written dataset", names, body))

    def delete(self, dataset: Dataset | str) -> dict[str, Any]:
        """Delete a dataset with all it holds, for good; the service's summary. NotFound, Forbidden."""
        return self._service.delete("written dataset", path_names(self._datasets.resolve(dataset)))


def _fields(
    description: str | None,
    annotation_types: Sequence[str] | None,
    classes: Sequence[Mapping[str, Any]] | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if description is not None:
        body["description"] = description
    if annotation_types is not None:
        body["annotation_types"] = [*annotation_types]
    if classes is not None:
        body["classes"] = [dict(each) for each in classes]
    return body
