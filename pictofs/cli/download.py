"""`pictofs download`: a dataset to plain files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click

from pictofs.api import Client, Dataset, DownloadReport
from pictofs.api.downloads import MODES, WORKERS
from pictofs.cli import account, progress, shown
from pictofs.errors import UsageError

REPORT = "download-report.json"  # in the dataset's folder while something has failed
NAMED_FAILURES = 10


@click.command()
@click.argument("dataset")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--mode", type=click.Choice(MODES), help="What to download. [full]")
@click.option("--status-filter", metavar="STATUS", help="Only images of this status.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help=f"Transfers at once. [{WORKERS}]")
@click.option(
    "--retry", metavar="REPORT", type=click.File("rb"), help="Only what failed in this report; - is stdin."
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@account.with_account
def download(
    dataset: str,
    folder: Path,
    mode: str | None,
    status_filter: str | None,
    jobs: int | None,
    retry: IO[bytes] | None,
    as_json: bool,
    profile: str | None,
    given: tuple[str, ...],
) -> int:
    """Write DATASET to DIR/<dataset>/images/… and DIR/<dataset>/annotations/…, named as on a mount.

    What fails is named, and kept in DIR/<dataset>/download-report.json for --retry; the exit code is then 1.
    """
    if retry is not None and (mode or status_filter):
        raise UsageError("--retry takes mode and status from its report: leave the other options out")
    before = None if retry is None else DownloadReport.read(retry.read())
    with account.opened(profile, given) as known:
        settings = known.settings
        meant = known.client.datasets.get(dataset)
        mode = mode or settings.mode
        if before is None and mode != "images_only":
            _say_shortfall(known.client, meant)
        with progress.files(meant.name) as bar:
            report = known.client.datasets.download(
                meant,
                folder,
                mode=mode,
                status_filter=None if before else status_filter or settings.status_filter,
                max_workers=jobs or settings.jobs or WORKERS,
                progress=bar,
                retry=before,
            )
    kept = _keep(report)
    if as_json:
        print(report.document().decode(), end="")
    else:
        print(
            f"{report.images_downloaded} images and {report.annotations_downloaded} annotations "
            f"({shown.size(report.bytes_downloaded)}) are in {shown.plain(report.folder)}"
        )
    for failure in report.failures[:NAMED_FAILURES]:
        print(f"pictofs: {shown.plain(failure.path)}: {shown.plain(failure.reason)}", file=sys.stderr)
    if report.failures:
        more = len(report.failures) - NAMED_FAILURES
        others = f"{more} more failed; " if more > 0 else ""
        print(f"pictofs: {others}again with --retry {shown.plain(kept)}", file=sys.stderr)
    return 0 if report.success else 1


def _say_shortfall(client: Client, dataset: Dataset) -> None:
    """Annotations are a request each: where the hour's budget cannot pay for them, that is said before."""
    budget = client.budget
    if budget is not None and dataset.image_count > budget.remaining:
        print(
            f"pictofs: up to {dataset.image_count} annotations are an API request each, and "
            f"{budget.remaining} are left this hour; the report will name the others",
            file=sys.stderr,
        )


def _keep(report: DownloadReport) -> Path:
    """Write down what failed, or forget what had."""
    path = Path(report.folder) / REPORT
    try:
        if report.failures:
            path.write_bytes(report.document())
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        print(f"pictofs: {path}: {error.strerror}; use --json to keep the report", file=sys.stderr)
    return path
