"""`pictofs images`: what a dataset holds."""

from __future__ import annotations

from itertools import islice

import click

from pictofs.cli import account, shapes, shown


@click.group()
def images() -> None:
    """The images of a dataset."""


@images.command("list")
@click.argument("dataset")
@click.option("--directory-path", metavar="PATH", help="Only of this virtual directory; / is the root.")
@click.option("--status", metavar="STATUS", help="Only of this status: new, annotate, review, complete.")
@click.option("--split", metavar="SPLIT", help="Only of this split: train, val, test.")
@click.option("--filename", metavar="NAME", help="Only with this file name.")
@click.option("--include-archived", is_flag=True, help="Archived ones as well.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many. [all]")
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N", help="Without the first N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@account.with_account
def list_images(
    dataset: str,
    directory_path: str | None,
    status: str | None,
    split: str | None,
    filename: str | None,
    include_archived: bool,
    limit: int | None,
    offset: int,
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """The images of DATASET (a name, slug or id) that match every filter."""
    with account.opened(profile, given) as known:
        found = known.client.images.iter(
            dataset,
            directory_path=directory_path,
            status=status,
            split=split,
            filename=filename,
            include_archived=include_archived,
            max_total=None if limit is None else offset + limit,
        )
        wanted = islice(found, offset, None)
        if as_json:
            shown.print_json_rows(map(shapes.of_image, wanted))
            return 0
        traits = ("#size", "#width", "#height", "status", "split", "#annotations", "id")
        rows = (
            (
                image.directory_path,
                image.filename,
                shown.size(image.file_size),
                image.width,
                image.height,
                image.status,
                image.split,
                image.annotation_count,
                image.id,
            )
            for image in wanted
        )
        shown.print_table(("directory", "filename", *traits), rows, "no image matches")
    return 0
