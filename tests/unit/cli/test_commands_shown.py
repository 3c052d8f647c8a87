"""What commands print: for people on a terminal, for a pipe, for programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from pictofs.api import Budget, Dataset, Export, Image, Organization, models
from pictofs.cli import progress, shapes, shown


def test_a_table_in_a_pipe_is_as_wide_as_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(("name", "#count"), [("x" * 300, 5), ("y", 1234567)], "none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["x" * 300, "5"]
    assert "\x1b" not in "".join(lines)


def test_a_table_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(("name",), [], "there is nothing")
    assert capsys.readouterr().out == "there is nothing\n"


def test_a_long_table_has_one_heading_and_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(("name",), ((f"row-{n}",) for n in range(2 * shown.ROWS_AT_ONCE + 5)), "none")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * shown.ROWS_AT_ONCE + 6
    assert [line.strip() for line in lines if "name" in line] == ["name"]


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\nb", "a\rb", "\x07", "\udcff", "\x9b2J"])
def test_no_name_acts_on_a_terminal(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_table(("name",), [(hostile,)], "none")
    shown.print_facts({"description": hostile})
    out = capsys.readouterr().out
    assert out.count("\n") == 3
    assert out.replace("\n", "").isprintable()


def test_what_looks_like_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown.print_facts({"name": "[bold]x[/bold]", "nothing": None, "flag": True, "many": ("a", "b")})
    assert capsys.readouterr().out.split() == ["name", "[bold]x[/bold]", "flag", "yes", "many", "a,", "b"]


def test_json_of_any_name_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("ü", "\udcff", "\x1b"):
        shown.print_json({"name": value})
        assert json.loads(capsys.readouterr().out) == {"name": value}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_are_one_array_however_many(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"n": number} for number in range(count)]
    shown.print_json_rows(iter(rows))
    assert json.loads(capsys.readouterr().out) == rows


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1024, "1.0K"), (5 << 20, "5.0M"), (3 << 50, "3072.0T")],
)
def test_sizes_are_short(count: int | None, text: str) -> None:
    assert shown.size(count) == text


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> str:
        out = io.StringIO()
        Console(file=out, force_terminal=True, color_system="truecolor").print(shown.cell("failed"))
        return out.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m" in drawn()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in drawn()


def test_progress_in_a_pipe_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = progress._Lines("road signs", lambda done, total: f"{done} of {total}", lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.25
        lines.told(done, 100, "x")
    said = capsys.readouterr().err.splitlines()
    assert said == [f"pictofs: road signs: {done} of 100" for done in (20, 40, 60, 80, 100)]


def test_a_state_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.states("export v1") as state:
        for word in ("pending", "pending", "completed"):
            state(word)
    assert capsys.readouterr().err == "pictofs: export v1: pending\npictofs: export v1: completed\n"


def test_waiting_in_a_pipe_is_a_line_now_and_then_and_nothing_when_it_is_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress.waiting("refresh of it"):
        pass
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LINE_S", 0.01)
    said = ""
    with progress.waiting("refresh of it"):
        while not said:
            said = capsys.readouterr().err
    assert said.startswith("pictofs: refresh of it: 0 s\n")


def test_progress_on_a_terminal_is_a_bar_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "console", lambda *, stderr: terminal)
    with progress.files("[b]signs") as told:
        told(1, 2, "z" * 100)
        told(2, 2, "[b]last.jpg")
    with progress.amount("v1") as told:
        told(5 << 20, 10 << 20, "")
    with progress.states("v1") as state:
        state("processing")
    with progress.waiting("upgrade of [b]it"):
        pass
    text = out.getvalue()
    assert "[b]signs" in text
    assert "[b]last.jpg" in text
    assert "2/2" in text
    assert "10.0 MiB" in text
    assert "upgrade of [b]it" in text


def fields(value: Any) -> set[str]:
    return set(value)


def test_the_same_fields_come_in_every_dialect_and_null_is_what_is_not_told() -> None:
    old = shapes.of_dataset(models.dataset({"id": "1", "name": "n"}))
    new = shapes.of_dataset(models.dataset({"id": "1", "name": "n", "total_size": 5, "slug": "s"}))
    assert fields(old) == fields(new)
    assert (old["total_size"], old["slug"], old["created_at"]) == (None, None, None)
    assert (new["total_size"], new["slug"]) == (5, "s")
    assert shapes.of_image(Image(filename="a"))["file_size"] is None
    assert shapes.of_export(Export(name="e"))["format"] is None
    assert "images" not in fields(shapes.of_dataset(Dataset()))


def test_an_account_is_shown_with_what_is_known_of_it() -> None:
    told = shapes.of_account(
        Organization(name="o", role="admin"), Budget(5000, 10, 1_700_000_000.0), "h", "c"
    )
    assert told["role"] == "admin"
    assert told["budget"] == {"limit": 5000, "remaining": 10, "reset": "2023-11-14T22:13:20Z"}
    assert shapes.of_account(Organization(), None, "h", "a")["budget"] is None
