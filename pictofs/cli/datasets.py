"""`pictofs datasets`: reading, writing and downloading datasets."""

from __future__ import annotations

from typing import Any

import click

from pictofs.api import Dataset
from pictofs.api.times import rfc3339
from pictofs.cli import account, asking_first, shapes, shown, told
from pictofs.cli.download import download
from pictofs.errors import UsageError

_DESCRIPTION = click.option("--description", metavar="TEXT")
_TYPES = click.option(
    "--annotation-type", "types", multiple=True, metavar="TYPE",
    help="bbox, polygon, polyline or keypoint; may be repeated.",
)  # fmt: skip
_CLASSES = click.option(
    "--class", "classes", multiple=True, metavar="NAME[:TYPE[:COLOR]]", help="A class; may be repeated."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group()
def datasets() -> None:
    """Datasets: what there is, and changing it."""


@datasets.command("list")
@click.option("--archived", is_flag=True, help="The archived ones, which are hidden otherwise.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many. [all]")
@_JSON
@account.with_account
def list_datasets(
    archived: bool, limit: int | None, as_json: bool, profile: str | None, given: tuple[str, ...]
) -> int:
    """All datasets of the organization."""
    with account.opened(profile, given) as known:
        found = known.client.datasets.iter(max_total=limit, archived=archived)
        if as_json:
            shown.print_json_rows(map(shapes.of_dataset, found))
            return 0
        rows = (
            (
                dataset.name,
                dataset.image_count,
                dataset.completed_image_count,
                dataset.annotation_count,
                shown.size(dataset.total_size or None),
                rfc3339(dataset.updated_ns)[:10],
                dataset.id,
            )
            for dataset in found
        )
        columns = ("name", "#images", "#complete", "#annotations", "#size", "updated", "id")
        shown.print_table(columns, rows, "there are no datasets")
    return 0


@datasets.command("show")
@click.argument("dataset")
@click.option("--images", is_flag=True, help="With its images (JSON only).")
@_JSON
@account.with_account
def show(dataset: str, images: bool, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """One dataset, by name, slug or id."""
    if images and not as_json:
        raise UsageError("--images goes with --json; `pictofs images list` shows them as a table")
    with account.opened(profile, given) as known:
        found = known.client.datasets.get(dataset)
        if as_json:
            document = shapes.of_dataset(found)
            if images:
                document["images"] = [shapes.of_image(image) for image in known.client.images.iter(found)]
            shown.print_json(document)
        else:
            _print(found)
    return 0


@datasets.command("create")
@click.argument("name")
@_DESCRIPTION
@_TYPES
@_CLASSES
@_JSON
@account.with_account
def create(
    name: str,
    description: str | None,
    types: tuple[str, ...],
    classes: tuple[str, ...],
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """A new, empty dataset."""
    with account.opened(profile, given) as known:
        made = known.client.projects.create(
            name,
            description=description,
            annotation_types=types or None,
            classes=[_class(each) for each in classes] or None,
        )
        told.datasets_changed(known)
        _say(made, as_json)
    return 0


@datasets.command("update")
@click.argument("dataset")
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@_DESCRIPTION
@_TYPES
@_CLASSES
@_JSON
@account.with_account
def update(
    dataset: str,
    new_name: str | None,
    description: str | None,
    types: tuple[str, ...],
    classes: tuple[str, ...],
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """Change what is given; classes and annotation types replace what was there."""
    with account.opened(profile, given) as known:
        changed = known.client.projects.update(
            dataset,
            new_name=new_name,
            description=description,
            annotation_types=types or None,
            classes=[_class(each) for each in classes] or None,
        )
        told.datasets_changed(known)
        _say(changed, as_json)
    return 0


@datasets.command("delete")
@click.argument("dataset")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
@account.with_account
def delete(dataset: str, yes: bool, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """Delete a dataset with all that is in it, for good."""
    with account.opened(profile, given) as known:
        found = known.client.datasets.get(dataset)
        inside = f"{found.image_count} images and {found.annotation_count} annotations"
        if not asking_first.agreed(f"Delete dataset {shown.plain(found.name)} with {inside}, for good?", yes):
            return asking_first.NOTHING_DONE
        with account.needing_admin("deleting a dataset"):
            known.client.projects.delete(found)
        told.datasets_changed(known)
        asking_first.say_deleted("dataset", found.id, found.name, as_json)
    return 0


datasets.add_command(download)


def _class(text: str) -> dict[str, Any]:
    name, *rest = text.split(":", 2)
    if not name:
        raise UsageError(f"--class {text}: a name comes first, as in car:bbox:#c82828")
    return {"name": name, **dict(zip(("type", "color"), rest, strict=False))}


def _say(dataset: Dataset, as_json: bool) -> None:
    if as_json:
        shown.print_json(shapes.of_dataset(dataset))
    else:
        _print(dataset)


def _print(dataset: Dataset) -> None:
    shown.print_facts(
        {
            "name": dataset.name,
            "slug": dataset.slug,
            "id": dataset.id,
            "description": dataset.description,
            "images": dataset.image_count,
            "complete": dataset.completed_image_count,
            "archived images": dataset.archived_image_count or None,
            "annotations": dataset.annotation_count,
            "size": shown.size(dataset.total_size or None),
            "classes": [str(each.get("name", "")) for each in dataset.classes] or None,
            "annotation types": dataset.annotation_types,
            "archived": dataset.is_archived or None,
            "created": rfc3339(dataset.created_ns),
            "updated": rfc3339(dataset.updated_ns),
        }
    )
