"""The small pieces that processes are made of: signals and timers, the line between them, word from the
background.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pictofs.config import Settings
from pictofs.errors import UsageError
from pictofs.mount import events as events_of_mount
from pictofs.mount import logs
from pictofs.mount.channel import Channel
from pictofs.mount.events import Events
from pictofs.mount.notify import notify


def _write(descriptor: int, content: bytes) -> None:
    os.write(descriptor, content)


def test_signals_timers_and_descriptors_are_called_in_one_loop() -> None:
    events = Events()
    seen: list[str] = []
    receive, send = os.pipe()
    before = signal.getsignal(signal.SIGUSR2)
    events.on_signals({signal.SIGUSR2: lambda: seen.append("signal")})

    def readable() -> None:
        seen.append(os.read(receive, 10).decode())
        events.forget(receive)
        os.kill(os.getpid(), signal.SIGUSR2)
        events.after("end", 0.05, events.finish)

    events.on_readable(receive, readable)
    events.after("first", 0.0, lambda: _write(send, b"bytes"))
    events.after("never", 0.0, lambda: seen.append("never"))
    events.cancel(["never"])
    events.run()
    events.close()
    os.close(receive)
    os.close(send)
    assert seen == ["bytes", "signal"]
    assert signal.getsignal(signal.SIGUSR2) == before


def test_a_timer_of_the_same_name_is_replaced() -> None:
    events = Events()
    seen: list[int] = []
    events.after("x", 0.0, lambda: seen.append(1))
    events.after("x", 0.0, lambda: (seen.append(2), events.finish())[1])
    events.run()
    events.close()
    assert seen == [2]


@pytest.mark.logs_traceback
def test_what_fails_for_want_of_something_is_called_again_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events_of_mount, "RETRY_S", 0.01)
    events = Events()
    seen: list[str] = []
    receive, send = os.pipe()

    def at_first_not(what: str, then: Callable[[], None]) -> Callable[[], None]:
        def act() -> None:
            seen.append(what)
            if seen.count(what) < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            then()

        return act

    def readable() -> None:
        os.read(receive, 10)
        os.kill(os.getpid(), signal.SIGUSR2)

    events.on_signals({signal.SIGUSR2: at_first_not("signal", events.finish)})
    events.on_readable(receive, at_first_not("readable", readable))
    events.after("x", 0.0, at_first_not("timer", lambda: _write(send, b"bytes")))
    events.run()
    events.close()
    os.close(receive)
    os.close(send)
    assert seen == ["timer"] * 3 + ["readable"] * 3 + ["signal"] * 3
    assert caplog.text.count("Traceback") == 1
    assert caplog.text.count("tried again") == 6


@pytest.mark.logs_traceback
def test_a_descriptor_that_is_forgotten_while_it_rests_stays_forgotten(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events_of_mount, "RETRY_S", 0.01)
    events = Events()
    seen: list[str] = []
    receive, send = os.pipe()

    def fails() -> None:
        seen.append("read")
        events.after("forget", 0.0, lambda: events.forget(receive))
        raise OSError(errno.ENOSPC, "No space left on device")

    events.on_readable(receive, fails)
    os.write(send, b"bytes")
    events.after("end", 0.1, events.finish)
    events.run()
    events.close()
    os.close(receive)
    os.close(send)
    assert seen == ["read"]


def test_words_and_descriptors_go_through_a_channel() -> None:
    left, right = Channel.pair()
    with open(os.devnull) as null:
        left.send("hello", number=1)
        left.send("take", fd=null.fileno(), text="ü" * 1000)
        words: list[dict[str, object]] = []
        while len(words) < 2:
            words += right.receive() or []
    assert (words[0]["say"], words[0]["number"]) == ("hello", 1)
    taken = words[1]["fd"]
    assert isinstance(taken, int)
    assert os.path.samestat(os.fstat(taken), os.stat(os.devnull))
    os.close(taken)
    left.close()
    assert right.receive() is None
    right.send("lost")  # says nothing, and does not fail
    right.close()


def test_words_of_several_threads_arrive_whole() -> None:
    left, right = Channel.pair()
    text = "x" * 300_000  # more than the socket takes at once

    def say(number: int) -> None:
        for _ in range(5):
            left.send("word", number=number, text=text)

    threads = [threading.Thread(target=say, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    words: list[dict[str, object]] = []
    while len(words) < 20:
        words += right.receive() or []
    for thread in threads:
        thread.join()
    assert sorted(str(word["number"]) for word in words) == sorted("0123" * 5)
    assert all(word["text"] == text for word in words)
    left.close()
    right.close()


BACKGROUND = """
import os, sys, time, signal
from pictofs.mount import background
def run(word):
    # whoever mounts for an autofs must be of the group that this one was started in
    assert os.getpgrp() == int(sys.argv[1]) and os.getcwd() == "/"
    {body}
try:
    sys.argv[1:] = [str(os.getpgrp())]
    print(background.start(run, log="/the/log"))
except background.Failed as failed:
    print("failed", failed.exit_code, failed)
"""


def in_background(body: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", BACKGROUND.replace("{body}", textwrap.indent(body, "    ").strip())],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert ran.stderr == ""
    return ran.stdout.strip()


def test_the_background_says_that_it_is_ready() -> None:
    assert in_background("word.ready(['a note']); word.failed('too late', 9); return 0").endswith(
        "notes=['a note'])"
    )


def test_once_it_is_ready_the_background_has_a_session_of_its_own(tmp_path: Path) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    tell = f"open({str(told)!r}, 'w').write(str(os.getsid(0) == os.getpid()))"
    in_background(f"word.ready([]); {tell}; return 0")
    assert told.read_text() == "True"


SLOW = """
import os
from pictofs.mount import background
background.SLOW_S = 0.01
receive, send = os.pipe()
os.set_inheritable(receive, False)
def run(word):
    os.read(receive, 1)     # that it was told to be slow
    word.ready(["in the end"])
    return 0
def slow():
    print("slow", flush=True)
    os.write(send, b".")
print(background.start(run, log="/the/log", slow=slow).notes)
"""


def test_a_background_that_takes_long_is_told_to_be_slow_once_and_waited_for() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SLOW], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout == "slow\n['in the end']\n"


def test_the_background_says_why_it_is_not() -> None:
    assert in_background("word.failed('the key was refused', 3); return 3") == "failed 3 the key was refused"


def test_a_background_that_dies_without_a_word_has_failed_and_the_log_is_named() -> None:
    said = in_background("os.kill(os.getpid(), signal.SIGKILL)")
    assert said == "failed 1 the mount ended before it answered; its log is /the/log"


def test_systemd_is_told_through_its_socket(tmp_path: Path) -> None:
    assert notify("READY=1", {}) is False
    for address in (str(tmp_path / "notify"), "@pictofs-test-" + os.urandom(4).hex()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listens:
            listens.bind("\0" + address[1:] if address[0] == "@" else address)
            assert notify("READY=1", {"NOTIFY_SOCKET": address}) is True
            assert listens.recv(100) == b"READY=1"
    assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")}) is False


LOGGING = """
import logging, os, sys
from pictofs.config import Settings
from pictofs.mount import events as events_of_mount
from pictofs.mount import logs
logs.configure(Settings(log_format=sys.argv[1]), "serving", sys.argv[2], {
    "JOURNAL_STREAM": sys.argv[3].format(os.fstat(2))})
try:
    raise ValueError("pk_live_secret")
except ValueError:
    logging.getLogger("room").error("it broke", exc_info=True)
logging.getLogger("room").debug("not worth a line")
"""


def logged(form: str, path: str = "", journal: str = "") -> str:
    ran = subprocess.run(
        [sys.executable, "-c", LOGGING, form, path, journal],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return ran.stderr


def test_a_log_line_is_text_json_or_the_journals(tmp_path: Path) -> None:
    text = logged("text")
    assert " ERROR serving[" in text
    assert "not worth" not in text
    assert json.loads(logged("json"))["message"] == "it broke"
    of_stderr = "{0.st_dev}:{0.st_ino}"
    for form in ("text", "json"):
        assert all(line.startswith("<3>") for line in logged(form, journal=of_stderr).splitlines())
    inherited = "8:1"  # by whatever a service starts: its stderr may lead elsewhere
    assert not logged("text", journal=inherited).startswith("<")
    path = tmp_path / "deep" / "log"
    logs.prepare(str(path))
    assert logged("text", str(path)) == ""
    assert "it broke" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in text + path.read_text() + logged("json")


def test_an_overgrown_log_is_put_aside_and_an_impossible_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with open(path, "wb") as file:
        file.truncate(11 << 20)
    logs.prepare(str(path))
    assert path.stat().st_size == 0
    assert (tmp_path / "log.1").stat().st_size == 11 << 20
    with pytest.raises(UsageError, match="cannot be written"):
        logs.prepare(str(path / "below"))


def test_a_log_that_overgrows_while_two_processes_write_is_put_aside_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_KEEP_BYTES", 1000)
    path = str(tmp_path / "log")
    one, other = logs._Rotating(path), logs._Rotating(path)
    try:
        line = logging.makeLogRecord({"msg": "x" * 99})
        for _ in range(8):
            one.emit(line)
            other.emit(line)
        assert [len(Path(p).read_text().splitlines()) for p in (path + ".1", path)] == [11, 5]
        assert os.stat(path).st_mode & 0o777 == 0o600
    finally:
        one.close()
        other.close()


def test_a_log_whose_folder_is_gone_ends_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    handler = logs._Rotating(str(folder / "log"))
    try:
        (folder / "log").unlink()
        folder.rmdir()
        handler.emit(logging.makeLogRecord({"msg": "lost"}))
        folder.mkdir()
        handler.emit(logging.makeLogRecord({"msg": "found"}))
        assert (folder / "log").read_text() == "found\n"
    finally:
        handler.close()


def test_a_mount_in_the_background_always_has_a_log() -> None:
    environ = {"XDG_STATE_HOME": "/s", "HOME": "/h"}
    assert logs.place(Settings(), "/mnt/x", environ, foreground=True) == ""
    assert logs.place(Settings(), "/mnt/x", environ, foreground=False).endswith(".log")
    assert logs.place(Settings(log_file="/l"), "/mnt/x", environ, foreground=True) == "/l"
