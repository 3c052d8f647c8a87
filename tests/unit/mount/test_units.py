"""The units of `systemd/`, as `pictofs install` writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pictofs.mount import installation

FOLDER = Path(__file__).parents[3] / "systemd"
# What gives a unit a mount namespace of its own (systemd.exec(5)): its mount would be hidden from all others.
HIDING = re.compile(
    r"^(Protect(System|Home|Proc|Kernel\w+|ControlGroups|Hostname)|Private(Tmp|Devices|Mounts|Users|IPC)"
    r"|ProcSubset|(ReadOnly|ReadWrite|Inaccessible|Exec|NoExec|BindReadOnly|Bind)Paths|TemporaryFileSystem|MountFlags"
    r"|Root(Directory|Image)|DynamicUser|MountImages|ExtensionImages|MountAPIVFS)=",
    re.M,
)


@pytest.mark.parametrize("name", ["pictofs@.service", "user/pictofs@.service"])
def test_a_unit_calls_the_program_that_installed_it(name: str) -> None:
    text = installation.unit(name, ["/opt/my python/100%/bin/python", "-m", "pictofs"])
    assert installation.MARK in text.splitlines()[0]
    assert 'ExecStart="/opt/my python/100%%/bin/python" -m pictofs mount --foreground' in text
    assert 'ExecStartPre="/opt/my python/100%%/bin/python" -m pictofs umount --stale' in text
    assert installation.PACKAGED not in text


@pytest.mark.parametrize("name", ["pictofs@.service", "user/pictofs@.service"])
def test_no_unit_hides_its_mount_from_others(name: str) -> None:
    assert HIDING.findall((FOLDER / name).read_text()) == []


def test_a_users_unit_lets_fusermount3_be_what_it_is() -> None:
    text = (FOLDER / "user/pictofs@.service").read_text()
    implied = "NoNewPrivileges|SystemCall|RestrictNamespaces|RestrictAddress|RestrictSUID|LockPersonality"
    assert re.findall(f"^({implied})", text, re.M) == []
