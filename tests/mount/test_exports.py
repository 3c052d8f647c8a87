"""Exports on real mounts: archives of every make, read by every program, opened as folders, and their end."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pictofs import names
from pictofs.catalog.model import EXPORT_BLOCK_BYTES
from pictofs.emulator.launch import Running, start
from pictofs.emulator.settings import EmulatorSettings
from tests.mount import archives, sources
from tests.mount.conftest import Make, Mount, run

pytestmark = pytest.mark.mount
DATASET = "Archives"
MANY = 66_000       # more than fit without ZIP64
PREFIX_BYTES = 5000
SIZES = (1, 22, 4096, EXPORT_BLOCK_BYTES, EXPORT_BLOCK_BYTES + 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of one image, whose exports are the archives of this file."""
    root = tmp_path_factory.mktemp("archives")
    exports = root / "data" / DATASET / "exports"
    exports.mkdir(parents=True)
    (exports.parent / "images").mkdir()
    (exports.parent / "images" / "one.jpg").write_bytes(sources.jpeg(1))
    archives.tree(root / "tree")
    for name, make in archives.MAKERS.items():
        make(root / "tree", exports / f"{name}.zip")
    archives.hostile(exports / "hostile.zip")
    archives.code_pages(exports / "code pages.zip")
    archives.damaged(exports / "damaged.zip")
    archives.shifted(exports / "shifted.zip")
    archives.many(exports / "many.zip", MANY)
    shutil.copy(exports / "info-zip-stored.zip", exports / "unread.zip")
    prefixed = (exports / "python.zip").read_bytes()
    (exports / "prefixed.zip").write_bytes(os.urandom(PREFIX_BYTES) + prefixed)
    (exports / "cut.zip").write_bytes(prefixed[:-400])
    return root


@pytest.fixture(scope="module")
def service(data: Path) -> Iterator[Running]:
    with start(EmulatorSettings(data=data / "data", rate_limit=0)) as running:
        yield running


@pytest.fixture(scope="module")
def mount(service: Running, shared_mounts: Make) -> Mount:
    return shared_mounts(service).mounted()


@pytest.fixture(scope="module")
def exports(mount: Mount) -> Path:
    return mount.root / DATASET / "exports"


def served(data: Path, name: str) -> Path:
    """The archive itself, on this machine's disk."""
    return data / "data" / DATASET / "exports" / f"{name}.zip"


@pytest.mark.parametrize("made_by", archives.MAKERS)
def test_every_program_reads_an_archive_of_every_make(exports: Path, data: Path, made_by: str) -> None:
    path = exports / f"{made_by}.zip"
    assert archives.BIG in run("unzip", "-l", path).stdout
    assert archives.BIG in run("zipinfo", "-1", path).stdout.splitlines()
    assert archives.BIG in run(sys.executable, "-m", "zipfile", "-l", path).stdout
    seven_zip = archives.seven_zip()
    assert archives.BIG in run(seven_zip, "l", "-ba", path).stdout
    assert "No errors detected" in run("unzip", "-t", path).stdout
    assert "Everything is Ok" in run(seven_zip, "t", path).stdout
    assert path.read_bytes() == served(data, made_by).read_bytes()


@pytest.mark.parametrize("made_by", archives.MAKERS)
def test_the_opened_archive_is_the_tree_that_was_packed(exports: Path, data: Path, made_by: str) -> None:
    """ "A completed export is a folder too, and what was packed is in it as files." """
    opened = sources.files(exports / made_by)
    packed = sources.files(data / "tree")
    for name in [name for name in opened if name.startswith("META-INF/")]:
        assert made_by == "jar"
        del opened[name]
    assert opened.keys() == packed.keys()
    assert [name for name, body in packed.items() if opened[name] != body] == []
    assert (exports / made_by / "an empty folder").is_dir()


def test_the_opened_archive_agrees_with_a_copy_that_was_unpacked(exports: Path, tmp_path: Path) -> None:
    run("unzip", "-q", exports / "7-zip.zip", "-d", tmp_path)
    run("diff", "-r", exports / "7-zip", tmp_path)


@pytest.fixture(scope="module")
def pairs(mount: Mount, exports: Path, data: Path) -> Iterator[list[tuple[BinaryIO, bytes]]]:
    """Files of a mount that nobody has read before, open, and what they should hold."""
    big = (data / "tree" / archives.BIG).read_bytes()
    with ExitStack() as opened:
        yield [
            (opened.enter_context(path.open("rb", buffering=0)), expected)
            for path, expected in (
                (exports / "unread.zip", served(data, "unread").read_bytes()),
                (exports / "unread" / archives.BIG, big),       # stored: read in place
                (exports / "7-zip" / archives.BIG, big),
                (exports / "python" / archives.BIG, big),       # deflated
            )
        ]


@given(
    st.integers(0, 3),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(SIZES)), min_size=1, max_size=8),
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_those_of_the_local_file_in_whatever_order_they_are_read(
    pairs: list[tuple[BinaryIO, bytes]], which: int, reads: list[tuple[float, int]]
) -> None:
    file, expected = pairs[which]
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        for place, size in reads:
            at = int(place * len(expected))
            assert os.pread(file.fileno(), size, at) == expected[at : at + size]
            begin = max(0, at - size)
            assert mapped[begin:at] == expected[begin:at]


def test_hostile_names_lead_nowhere_and_every_member_is_there(exports: Path) -> None:
    """ "Whatever an archive calls its files, they are below its folder, each under a name of its own." """
    found = sources.files(exports / "hostile")
    assert sorted(found.values()) == sorted(map(archives.body, range(len(archives.HOSTILE))))
    for name in found:
        assert all(part not in ("", ".", "..") for part in name.split("/"))
    numbers = {body: number for number, body in enumerate(map(archives.body, range(len(found))))}
    for name, body in found.items():
        inside = archives.HOSTILE[numbers[body]]
        if "~" not in name:
            assert "/".join(map(names.decode, name.split("/"))) == inside
        else:
            assert os.fsdecode(os.getxattr(exports / "hostile" / name, "user.pictofs.name")) == (
                inside.rpartition("/")[2]
            )
    assert not (exports / "hostile" / ".." / ".." / ".." / "evil").exists()


def test_names_in_code_page_437_and_in_info_zip_s_extra_field(exports: Path) -> None:
    assert sources.files(exports / "code pages") == {
        archives.CODE_PAGE_NAME: b"437", archives.EXTRA_NAME: b"7075",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["crc.txt", "longer.txt", "shorter.txt", "nowhere.bin"])
def test_a_member_that_is_not_what_the_directory_says_is_eio(exports: Path, name: str) -> None:
    """ "A packed file that is not what its archive promises is EIO." """
    with pytest.raises(OSError) as error:  # noqa: PT011 - its errno is looked at
        (exports / "damaged" / name).read_bytes()
    assert error.value.errno == errno.EIO
    assert (exports / "damaged" / "good.txt").read_bytes() == b"good.txt" * 500


@pytest.mark.parametrize("name", ["a.txt", "b.txt"])
def test_members_that_begin_before_their_archive_are_eio(exports: Path, name: str) -> None:
    with pytest.raises(OSError) as error:  # noqa: PT011 - its errno is looked at
        (exports / "shifted" / name).read_bytes()
    assert error.value.errno == errno.EIO


def test_an_archive_behind_other_bytes_is_opened_as_unzip_does(exports: Path, data: Path) -> None:
    assert sources.files(exports / "prefixed") == sources.files(data / "tree")


def test_what_is_no_archive_is_eio_as_a_folder_and_a_file_all_the_same(
    mount: Mount, exports: Path, data: Path
) -> None:
    with pytest.raises(OSError) as error:  # noqa: PT011 - its errno is looked at
        os.listdir(exports / "cut")
    assert error.value.errno == errno.EIO
    assert (exports / "cut.zip").read_bytes() == served(data, "cut").read_bytes()
    assert "cut.zip cannot be opened as a folder" in mount.logged()


def test_more_members_than_zip_counts_without_zip64_are_all_there(exports: Path, data: Path) -> None:
    opened = exports / "many"
    folders = os.listdir(opened)
    assert len(folders) == MANY // 1000
    assert sum(len(os.listdir(opened / folder)) for folder in folders) == MANY
    assert (opened / "0065" / "999.txt").read_bytes() == b""
    assert f"{MANY} files" in run("unzip", "-l", exports / "many.zip").stdout.splitlines()[-1]


def test_a_copy_of_the_folder_takes_each_byte_once(exports: Path, tmp_path: Path) -> None:
    assert {path.suffix for path in exports.iterdir()} == {".zip", ".json"}
    run("cp", "-r", exports, tmp_path)
    assert {path.suffix for path in (tmp_path / "exports").iterdir()} == {".zip", ".json"}
