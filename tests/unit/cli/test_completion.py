"""Completion of command lines, as a real bash does it."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pictofs import cli
from pictofs.cli import app, completing
from pictofs.mount import options

LIMIT_S = 60.0
PROGRAM = Path(sys.executable).with_name("pictofs")
ENVIRON = {
    "PATH": f"{PROGRAM.parent}:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "TERM": "dumb",
    "LC_ALL": "C.UTF-8",
}

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() or not shutil.which("bash"),
    reason="NOT TESTED: no bash, or pictofs is not installed here",
)


def completed(*typed: str) -> list[str]:
    """What bash would offer for the last word."""
    words = " ".join(f"'{word}'" for word in typed)
    script = (
        f'{completing.script("bash", app.pictofs)}\ncompopt() {{ COMPREPLY+=("<$*>"); }}\n'
        f"COMP_WORDS=(pictofs {words}); COMP_CWORD={len(typed)}\n"
        "_pictofs_completion pictofs\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    ran = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=ENVIRON,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


def test_commands_and_their_options_are_offered() -> None:
    assert completed("u") == ["umount", "unpin", "ui", "upgrade", "uninstall"]
    assert completed("umount", "--l") == ["--lazy"]
    assert completed("exports", "dow") == ["download"]
    assert set(app.COMMANDS) <= set(completed(""))


def test_settings_are_offered_with_the_words_they_take_also_behind_a_comma() -> None:
    assert completed("mount", "-o", "io") == ["io=cache", "io=passthrough"]
    assert completed("mount", "-o", "ttl=5,dri") == [
        f"ttl=5,driver={word}" for word in ("auto", "kernel", "fusepy")
    ]
    offered = {word.partition("=")[0] for word in completed("mount", "-o", "")}
    assert offered == set(options.BY_NAME)


def test_folders_and_files_are_left_to_the_shell() -> None:
    assert "dirnames" in " ".join(completed("mount", "/mn"))
    assert "default" in " ".join(completed("warm", "/mn"))


def test_a_tab_in_a_terminal_completes_the_word() -> None:
    terminal, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], env=ENVIRON, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    seen = b""

    def until(what: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + LIMIT_S
        while what not in seen:
            ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, seen.decode(errors="replace")
            seen += os.read(terminal, 4096)
        seen = seen.partition(what)[2]

    try:
        os.write(terminal, b'eval "$(pictofs completion bash)"; echo rea""dy\n')
        until(b"ready\r\n")
        os.write(terminal, b"pictofs umo\t")
        until(b"pictofs umount ")
    finally:
        os.write(terminal, b"\x15exit\n")
        shell.wait(LIMIT_S)
        os.close(terminal)


@pytest.mark.parametrize("shell", completing.SHELLS)
def test_each_shell_gets_a_script_of_its_own(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert f"_PICTOFS_COMPLETE={shell}_complete" in out
    assert (shell == "zsh") == out.startswith("#compdef pictofs")


def test_another_shell_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    assert "bash" in capsys.readouterr().err
