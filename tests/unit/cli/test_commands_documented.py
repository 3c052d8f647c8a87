"""docs/commands.md keeps up with the program."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pictofs import errors
from pictofs.api import Budget, Client, Dataset, DownloadFailure, DownloadReport, Export, Image, Organization
from pictofs.cli import app, shapes
from pictofs.doctor import Finding, Level, bundle
from pictofs.mount.caches import Info, Share

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "commands.md").read_text(encoding="utf-8")
ELSEWHERE = {"pictofs emulator"}  # its options are in docs/emulator.md
COMMON = {"--json", "--profile", "-o", "--help", "-h"}  # said once for all


def leaves(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """(what is typed, the command) of every command below."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


COMMANDS = dict(leaves(app.pictofs, "pictofs"))


def described(path: str) -> str:
    """The cell that shows how a command is typed."""
    cells = [re.split(r"(?<!\\)\|", line)[1] for line in TEXT.splitlines() if line.startswith("| ")]
    found = [cell for cell in cells if re.search(rf"`{re.escape(path)}[` ]", cell)]
    assert found, f"docs/commands.md has no row for `{path}`"
    return found[0]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_documented_with_its_options(path: str) -> None:
    row = described(path)
    if path in ELSEWHERE or path == "pictofs datasets download":
        return
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            assert COMMON & set(parameter.opts) or any(opt in row for opt in parameter.opts), parameter.opts


def test_no_command_is_documented_that_does_not_exist() -> None:
    named = set(re.findall(r"`(pictofs(?: [a-z]+)+)", TEXT))
    assert named <= {*COMMANDS, *(path.rpartition(" ")[0] for path in COMMANDS)}


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    tree = [errors.PictofsError]
    for kind in tree:
        tree += kind.__subclasses__()
    ours = {kind.exit_code for kind in tree if kind.__module__ == "pictofs.errors"}
    assert codes == ours | {0, app.INTERRUPTED}


def fields(what: str) -> set[str]:
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| {what} |"))
    return set(re.findall(r"`([a-z_]+)`", row.split("|")[2]))


def test_every_json_field_is_documented() -> None:
    assert fields("a dataset") == set(shapes.of_dataset(Dataset(images=[])))
    assert fields("an image") == set(shapes.of_image(Image(filename="a")))
    assert fields("an export") == set(shapes.of_export(Export(name="e")))
    account = shapes.of_account(Organization(), Budget(1, 1, 1.0), "", "c")
    assert fields("`whoami`") == {*account, *account["organization"], *account["budget"]}
    report = DownloadReport(dataset_id="d")
    told = {"schema", "success", *report.__struct_fields__, *DownloadFailure.__struct_fields__}
    assert fields("a download's report") == told


def test_the_fields_of_the_cache_are_documented() -> None:
    told = {field.name for kind in (Info, Share) for field in dataclasses.fields(kind)}
    assert fields("`cache info`") == told


def test_the_fields_of_doctors_findings_are_documented() -> None:
    document = bundle.report([Finding("a", Level.PASS, "b")])
    assert fields("`doctor`") == {*document, *document["findings"][0]}


def test_the_calls_of_the_library_that_are_named_exist() -> None:
    client = Client()
    rows = re.findall(r"^\| `client\.(\w+)` \| (.*) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 6
    for group, calls in rows:
        for name in re.findall(r"`(\w+)`", calls):
            assert callable(getattr(getattr(client, group), name)), f"{group}.{name}"
