"""The manual pages: complete, and without a flaw that man or mandoc would tell of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from pictofs import cli
from pictofs.cli import app, manual, roff
from pictofs.mount import helper, options

DOCS = Path(__file__).parents[3] / "docs"
PAGES = {page.file: str(page) for page in manual.pages()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("man")
    assert cli.main(["man", "--output", str(where)]) == 0
    assert {path.name for path in where.iterdir()} == set(PAGES)
    return where


def rendered(path: Path) -> str:
    """As man shows it to a person."""
    if not shutil.which("man"):
        pytest.skip("NOT TESTED, no man here: apt-get install man-db")
    ran = subprocess.run(
        ["man", "--warnings", "--encoding=UTF-8", "-l", str(path)],
        capture_output=True, text=True, timeout=60,
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "500", "LC_ALL": "C.UTF-8"}, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return re.sub(r".\x08", "", ran.stdout)


@pytest.mark.parametrize("name", PAGES)
def test_man_shows_every_page_without_a_warning(name: str, folder: Path) -> None:
    assert "SEE ALSO" in rendered(folder / name)


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_in_any_page(name: str, folder: Path) -> None:
    if not shutil.which("mandoc"):
        pytest.skip("NOT TESTED, no mandoc here: apt-get install mandoc")
    ran = subprocess.run(["mandoc", "-Tlint", folder / name], capture_output=True, text=True, timeout=60)
    assert ran.stdout + ran.stderr == ""


def test_every_command_and_option_is_in_its_page(folder: Path) -> None:
    text = rendered(folder / "pictofs.1")
    top = click.Context(app.pictofs, info_name="pictofs")
    found = list(manual.commands(app.pictofs, top))
    assert len(found) > len(app.COMMANDS)
    for command, context in found:
        assert f"{context.command_path} " in text
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(word in text for word in parameter.opts), parameter.opts


def test_every_setting_is_in_its_page_with_default_and_reason(folder: Path) -> None:
    text = rendered(folder / "pictofs.toml.5")
    for option in options.OPTIONS:
        for said in (f"{option.name} = {option.value}", option.meaning, option.default, option.reason):
            assert said.replace("`", "") in text, said


def test_every_option_of_the_helper_is_in_its_page(folder: Path) -> None:
    text = rendered(folder / "mount.pictofs.8")
    assert len(helper.parser().described()) == 9
    for typed, what in helper.parser().described():
        assert typed in text
        assert what in text
    for word in options.MOUNT8:
        assert word in text


def test_the_exit_codes_are_those_of_the_documents() -> None:
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert {int(code): what for code, what in rows} == manual.EXITS


def test_a_page_is_printed_by_its_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["man"]) == 0
    assert capsys.readouterr().out == PAGES["pictofs.1"]
    assert cli.main(["man", "mount.pictofs.8"]) == 0
    assert capsys.readouterr().out == PAGES["mount.pictofs.8"]
    assert cli.main(["man", "pictofs.9"]) == 2
    assert "there are pictofs.1, mount.pictofs.8, pictofs.toml.5" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert cli.main(["man", "--output", str(tmp_path / "file")]) == 2


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (".TH is no request", r"\&.TH is no request"),
        ("'so is this", r"\(aqso is this"),
        ("a \\ b", r"a \e b"),
        ("run `ls -l`", r"run \fBls \-l\fR"),
        ("a – b", r"a \[u2013] b"),
        ("one ` alone", r"one \(ga alone"),
    ],
)
def test_no_text_is_a_request(text: str, source: str) -> None:
    assert roff.marked(text) == source


def test_no_line_of_a_long_text_becomes_a_request() -> None:
    for width in range(40, 90):
        text = "word " * (width // 5) + "." * (width % 5) + ".so /etc/passwd " * 20
        for line in roff.marked(text).splitlines():
            assert not line.startswith((".", "'"))
