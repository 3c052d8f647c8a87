"""The documents keep up with the program."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pictofs.mount import options
from pictofs.mount.rereading import LIVE
from tests.unit.test_architecture import LIBRARIES, ROOMS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows(document: str) -> dict[str, list[str]]:
    """First cell → cells, of every table row whose first cell is code."""
    lines = (DOCS / document).read_text(encoding="utf-8").splitlines()
    tables = [cells(line) for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row for row in tables}


@pytest.mark.parametrize("option", options.OPTIONS, ids=lambda option: option.name)
def test_every_option_is_documented_with_its_default_and_its_reason(option: options.Option) -> None:
    row = rows("configuration.md")[option.name]
    assert row[1:] == [option.value.replace("|", "\\|"), option.default, option.meaning, option.reason]
    assert option.reason


def test_no_option_is_documented_that_does_not_exist() -> None:
    table = (DOCS / "configuration.md").read_text(encoding="utf-8").split("## Options")[1].split("##")[0]
    named = {cells(line)[0].strip("`") for line in table.splitlines() if line.startswith("| `")}
    assert named == set(options.BY_NAME)


def test_what_a_live_mount_follows_is_documented() -> None:
    text = (DOCS / "operating.md").read_text(encoding="utf-8")
    named = text.split("What a live mount follows")[1].split("Everything else")[0]
    fields = {option.name: option.field for option in options.OPTIONS}
    assert {fields[name] for name in re.findall(r"`(\w+)`", named)} == LIVE


def test_the_readme_has_exactly_two_commands_and_make_knows_them() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [block.strip() for block in blocks] == ["make demo", "make test"]
    for command in ("demo", "test"):
        dry = subprocess.run(["make", "-n", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert dry.returncode == 0, dry.stderr


def test_ci_runs_the_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert text.rstrip().endswith("make --no-print-directory test")


def promises() -> list[str]:
    lines = (DOCS / "semantics.md").read_text(encoding="utf-8").splitlines()
    return [line[2:].strip() for line in lines if line.startswith("> ")]


def test_promises_are_one_sentence_each() -> None:
    assert len(promises()) > 15
    for promise in promises():
        assert promise.endswith("."), promise
        assert promise.count(". ") == 0, promise


@pytest.mark.parametrize("promise", promises())
def test_every_promise_is_quoted_by_a_test(promise: str) -> None:
    here = Path(__file__).resolve()
    quoting = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if path.resolve() != here and promise in path.read_text(encoding="utf-8")
    ]
    assert quoting, f"no test quotes: {promise}"


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (ROOT / "README.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_every_file_that_the_documents_name_exists() -> None:
    pattern = re.compile(
        r"`((?:pictofs|tests|mount|mirror|vfs|tree|link|drivers|catalog|storage|store|api)/[\w/]+\.py)`"
    )
    for document in (ROOT / "README.md", DOCS / "architecture.md", DOCS / "semantics.md"):
        for name in pattern.findall(document.read_text(encoding="utf-8")):
            inside = name if name.startswith(("pictofs/", "tests/")) else f"pictofs/{name}"
            assert (ROOT / inside).exists(), f"{document.name}: {name}"


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of architecture.md, without its head."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    lines = text.split("\n## ")[0].splitlines()
    return [cells(line) for line in lines if line.startswith("| ")][1:]


def words(cell: str) -> set[str]:
    """The names in a cell; none where it says so."""
    return set() if cell in ("nothing", "–") else {word.strip(" `/") for word in cell.split(",")}


def test_the_table_of_rooms_is_the_one_that_imports_are_held_to() -> None:
    told = {room: words(row[2]) for row in table("Rooms") for room in words(row[0])}
    assert told == {room: below for room, below in ROOMS.items() if room != "__main__"}


def test_the_table_of_dependencies_is_the_one_that_imports_are_held_to() -> None:
    named = {"fusepy": "fuse", "google-crc32c": "google_crc32c", "prometheus-client": "prometheus_client",
             "pillow": "PIL"}  # fmt: skip
    told = {named.get(name, name): words(row[1]) for row in table("Dependencies") for name in words(row[0])}
    # urllib3 comes with requests, and tomllib is what tomli is before Python 3.11
    assert told == {library: LIBRARIES[library] for library in LIBRARIES.keys() - {"urllib3", "tomllib"}}
