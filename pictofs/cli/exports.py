"""`pictofs exports`: ordering, watching, downloading and deleting exports."""

from __future__ import annotations

from pathlib import Path

import click

from pictofs.api import Export
from pictofs.api.exports import WAIT_S
from pictofs.api.times import rfc3339
from pictofs.cli import account, asking_first, progress, shapes, shown, told

STATES = ("pending", "processing", "completed", "failed")
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group()
def exports() -> None:
    """Exports: archives of a dataset that the service makes."""


@exports.command("list")
@click.option("--dataset", metavar="DATASET", help="Only of this dataset: a name, slug or id.")
@click.option("--status", type=click.Choice(STATES), help="Only in this state.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many. [all]")
@_JSON
@account.with_account
def list_exports(
    dataset: str | None,
    status: str | None,
    limit: int | None,
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """All exports, in whatever state."""
    with account.opened(profile, given) as known:
        found = known.client.exports.iter(dataset, status, max_total=limit)
        if as_json:
            shown.print_json_rows(map(shapes.of_export, found))
            return 0
        rows = (
            (
                export.dataset_name,
                export.name,
                export.status,
                export.format,
                export.image_count,
                export.annotation_count,
                shown.size(export.file_size),
                rfc3339(export.completed_ns or export.created_ns)[:10],
            )
            for export in found
        )
        columns = ("dataset", "name", "status", "format", "#images", "#annotations", "#size", "date")
        shown.print_table(columns, rows, "there are no exports")
    return 0


@exports.command("show")
@click.argument("dataset")
@click.argument("export")
@_JSON
@account.with_account
def show(dataset: str, export: str, as_json: bool, profile: str | None, given: tuple[str, ...]) -> int:
    """One export, by its dataset and its name."""
    with account.opened(profile, given) as known:
        _say(known.client.exports.get(dataset, export), as_json)
    return 0


@exports.command("create")
@click.argument("dataset")
@click.argument("name")
@click.option("--format", "form", metavar="FORMAT", help="pictograph, coco, yolo … [the service's choice]")
@click.option("--include-images", is_flag=True, help="Put the images into the archive as well.")
@click.option(
    "--class-filter", "classes", multiple=True, metavar="CLASS", help="Only this class; may be repeated."
)
@click.option("--status-filter", metavar="STATUS", help="Only images of this status.")
@click.option("--wait", is_flag=True, help="Return when it is completed.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=WAIT_S,
    metavar="S",
    show_default=True,
    help="How long to wait.",
)
@_JSON
@account.with_account
def create(
    dataset: str,
    name: str,
    form: str | None,
    include_images: bool,
    classes: tuple[str, ...],
    status_filter: str | None,
    wait: bool,
    timeout: float,
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """Order the export NAME of DATASET."""
    with account.opened(profile, given) as known:
        client = known.client
        meant = client.datasets.get(dataset)
        made = client.exports.create(
            meant,
            name,
            format=form,
            include_images=include_images,
            class_filter=classes or None,
            status_filter=status_filter,
        )
        try:
            if wait:
                with progress.states(f"export {name}") as state:
                    made = client.exports.wait(
                        meant, made, timeout_s=timeout, progress=lambda seen: state(seen.status)
                    )
        finally:
            told.exports_changed(known, meant)
        _say(made, as_json)
    return 0


@exports.command("download")
@click.argument("dataset")
@click.argument("export")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@_JSON
@account.with_account
def download(
    dataset: str, export: str, path: Path | None, as_json: bool, profile: str | None, given: tuple[str, ...]
) -> int:
    """Save a completed export's archive: as PATH, into the folder PATH, or here as <export>.zip.

    After a failure the same command goes on where the first one stopped.
    """
    with account.opened(profile, given) as known, progress.amount(export) as bar:
        where = known.client.exports.download(
            dataset, export, path, progress=lambda done, total: bar(done, total, "")
        )
    size_bytes = where.stat().st_size
    if as_json:
        shown.print_json({"path": str(where), "size": size_bytes})
    else:
        print(f"{shown.plain(where)} ({shown.size(size_bytes)})")
    return 0


@exports.command("delete")
@click.argument("dataset")
@click.argument("export")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
@account.with_account
def delete(
    dataset: str, export: str, yes: bool, as_json: bool, profile: str | None, given: tuple[str, ...]
) -> int:
    """Delete an export and its archive, for good."""
    with account.opened(profile, given) as known:
        client = known.client
        meant = client.datasets.get(dataset)
        found = client.exports.get(meant, export)
        question = f"Delete export {shown.plain(found.name)} of dataset {shown.plain(meant.name)}, for good?"
        if not asking_first.agreed(question, yes):
            return asking_first.NOTHING_DONE
        with account.needing_admin("deleting an export"):
            client.exports.delete(meant, found)
        told.exports_changed(known, meant)
        asking_first.say_deleted("export", found.id, found.name, as_json)
    return 0


def _say(export: Export, as_json: bool) -> None:
    if as_json:
        shown.print_json(shapes.of_export(export))
        return
    shown.print_facts(
        {
            "name": export.name,
            "dataset": export.dataset_name,
            "id": export.id,
            "status": export.status,
            "error": export.error_message,
            "format": export.format,
            "with images": export.include_images,
            "classes": export.class_filter,
            "status filter": export.status_filter,
            "images": export.image_count,
            "annotations": export.annotation_count,
            "size": shown.size(export.file_size),
            "created": rfc3339(export.created_ns),
            "completed": rfc3339(export.completed_ns),
            "expires": rfc3339(export.expires_ns),
        }
    )
