"""The serving process' line to its supervisor, and what it does while nobody answers."""

from __future__ import annotations

import fcntl
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pictofs.catalog.model import OrganizationRow
from pictofs.config import Profile, Settings
from pictofs.drivers import Driver
from pictofs.errors import Unreachable, UsageError
from pictofs.link import LinkLost
from pictofs.link.messages import Attached
from pictofs.mount import assembly, attaching, listening, record, serving
from pictofs.mount.channel import Channel
from pictofs.mount.plan import Plan
from pictofs.vfs import Vfs


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


class Facts:
    restarts = 0
    fetching = 0


class Unlinked:
    """A vfs without a link, and a driver that does at once what it is given."""

    def __init__(self) -> None:
        self.stopped = False
        self.linked: list[object] = []

    def fileno(self) -> int:
        return -1

    def relink(self, client: object) -> None:
        self.linked.append(client)

    def submit(self, act: Any) -> None:
        act()

    def stop(self) -> None:
        self.stopped = True


def plan(folder: Path) -> Plan:
    return Plan(Settings(cache_dir=str(folder), timeout_s=5.0), None, "/mnt/x", "", folder, (), {})


def test_a_lock_behind_which_nobody_listens_is_asked_ever_more_rarely_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(serving, "time", clock)
    ours, theirs = Channel.pair()
    supervisor = threading.Thread(target=answer_every_question, args=(ours,))
    supervisor.start()
    with open(tmp_path / "fetch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Unreachable, match="cannot be reached"):
            serving._attach_first(plan(tmp_path), theirs, cast(assembly.Facts, Facts()))
    theirs.close()
    supervisor.join()
    ours.close()
    assert clock.slept_s[:2] == [serving.FIRST_PAUSE_S, 2 * serving.FIRST_PAUSE_S]
    assert max(clock.slept_s) == listening.RECONNECT_S
    assert sum(clock.slept_s) == pytest.approx(5.0 + attaching.ATTACH_MARGIN_S, abs=2 * listening.RECONNECT_S)


def answer_every_question(ours: Channel) -> None:
    ours.send("link")
    while (words := ours.receive()) is not None:
        for _ in words:
            ours.send("link")


@pytest.mark.logs_traceback
def test_the_listener_outlives_what_nobody_expected_and_sees_the_supervisor_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = object()
    attached = Attached(1, 7, "1.0", [1], [], [])
    answers: list[Any] = [ValueError("odd"), ValueError("odd"), LinkLost("away"), (client, attached)]

    def attach(_: Plan) -> Any:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(listening, "attach", attach)
    monkeypatch.setattr(listening, "RECONNECT_S", 0.01)
    monkeypatch.setattr(record, "start_ticks", lambda pid: 100 + pid)
    ours, theirs = Channel.pair()
    both = Unlinked()
    heard = listening.Listener(
        plan(tmp_path), theirs, cast(Driver, both), cast(Vfs, both), cast(assembly.Facts, Facts()), [1]
    )
    listener = threading.Thread(target=heard.run)
    listener.start()
    ours.send("link")
    said: list[dict[str, Any]] = []
    while not said or said[-1]["say"] != "linked":
        words = ours.receive() or []
        for word in words:
            if word["say"] == "link_lost":
                ours.send("link")
        said += words
    ours.close()
    listener.join(10)
    assert not listener.is_alive()
    theirs.close()
    assert both.stopped
    assert both.linked == [client]
    assert said[-1] == {
        "say": "linked", "with_fd": False, "fetching": 7, "fetching_started": 107, "version": "1.0"
    }  # fmt: skip
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize(
    ("remote_id", "called"), [("key:5b36f96c", "is 'acme'"), ("o-1", "'acme' or 'o-1'")]
)
def test_a_source_that_is_not_the_keys_organization_is_told_what_that_is_called_and_no_internal_id(
    tmp_path: Path, remote_id: str, called: str
) -> None:
    class Reader:
        def organization(self, pk: int) -> Any:
            return OrganizationRow(pk, "http://h", remote_id, "acme", "acme", b"", 0, 0)

    with pytest.raises(UsageError, match=called) as caught:
        attaching.check_organization(
            replace(plan(tmp_path), organization="other", settings=Settings(profiles=(Profile(),))),
            cast(Any, Reader()),
            Attached(1, 7, "1.0", [1], [], []),
        )
    assert "key:" not in str(caught.value)
