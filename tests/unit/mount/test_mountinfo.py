from __future__ import annotations

import tempfile

from pictofs.drivers import mountinfo

TABLE = rb"""21 27 0:20 / /proc rw,nosuid - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
90 27 0:52 / /home/a\040b/pic\134ture ro,nosuid,nodev - fuse.pictofs acme\040lab ro,user_id=0
91 27 0:53 / /mnt ro - fuse.pictofs  ro,user_id=0
92 27 0:54 / /mnt rw - tmpfs tmpfs rw
broken line
"""


def test_a_line_of_mountinfo_is_read_with_its_escapes() -> None:
    table = mountinfo.parse(TABLE)
    assert len(table) == 5
    assert table[2].mountpoint == "/home/a b/pic\\ture"
    assert (table[2].kind, table[2].source, table[2].device) == ("fuse.pictofs", "acme lab", "0:52")
    assert table[3].source == ""


def test_the_last_mount_at_a_path_lies_on_top(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(mountinfo, "table", lambda: mountinfo.parse(TABLE))
    assert mountinfo.at("/mnt").kind == "tmpfs"  # type: ignore[union-attr]
    assert mountinfo.at("/nowhere") is None
    assert len(mountinfo.ours()) == 2


def test_an_open_file_is_known_to_lie_in_memory() -> None:
    with tempfile.TemporaryFile(dir="/dev/shm") as in_memory:
        assert mountinfo.in_memory(in_memory.fileno())
    with open("/proc/self/status", "rb") as elsewhere:
        assert not mountinfo.in_memory(elsewhere.fileno())


def test_a_path_lies_in_the_deepest_mount_above_it(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(mountinfo, "table", lambda: mountinfo.parse(TABLE))
    assert mountinfo.containing("/proc/1").kind == "proc"  # type: ignore[union-attr]
    assert mountinfo.containing("/procession").kind == "ext4"  # type: ignore[union-attr]
    assert mountinfo.containing("/mnt/deep/er").kind == "tmpfs"  # type: ignore[union-attr]
    assert mountinfo.containing("/").kind == "ext4"  # type: ignore[union-attr]
