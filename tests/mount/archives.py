"""Archives for the tests of exports: made by the programs that people use, and by hand to be hostile."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.mount import sources

STAMP = (2024, 5, 6, 7, 8, 10)
BIG = "images/big.bin"
ENVIRON = {**os.environ, "LC_ALL": "C.UTF-8"}
Maker = Callable[[Path, Path], None]


def tree(root: Path) -> dict[str, bytes]:
    """Files of every kind that matters to an archive; relative path → bytes."""
    chance = random.Random(5)
    found = {
        "data.yaml": b"names: [car, sign]\n",
        "empty.txt": b"",
        "labels/one byte": b"x",
        "labels/train/long.txt": b"0 0.5 0.5 0.25 0.25\n" * 60_000,  # 1.2 MB that deflate to 3 KB
        "labels/größe/写真 1.txt": "Straße\n".encode() * 40,
        "images/photo.jpg": sources.jpeg(3) + chance.randbytes(60_000),
        BIG: chance.randbytes(1_400_000),                            # of several blocks, nothing to deflate
    }
    for name, body in found.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        os.utime(path, (1_700_000_000, 1_700_000_000))
    (root / "an empty folder").mkdir()
    return found


def _run(*command: str | Path, cwd: Path) -> None:
    words = [str(word) for word in command]
    ran = subprocess.run(words, cwd=cwd, env=ENVIRON, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, (command, ran.stderr)


def _info_zip(folder: Path, archive: Path) -> None:
    _run("zip", "-q", "-r", archive, ".", cwd=folder)


def _info_zip_stored(folder: Path, archive: Path) -> None:
    _run("zip", "-q", "-0", "-r", archive, ".", cwd=folder)


def _info_zip_64(folder: Path, archive: Path) -> None:
    """Sizes and the directory's place in ZIP64's fields."""
    _run("zip", "-q", "-fz", "-r", archive, ".", cwd=folder)


def _info_zip_piped(folder: Path, archive: Path) -> None:
    """To a pipe, where sizes come after the data: data descriptors."""
    with archive.open("wb") as file:
        ran = subprocess.Popen(["zip", "-q", "-r", "-", "."], cwd=folder, env=ENVIRON, stdout=subprocess.PIPE)
        with ran:
            assert ran.stdout is not None
            shutil.copyfileobj(ran.stdout, file)
    assert ran.returncode == 0


def _seven_zip(folder: Path, archive: Path) -> None:
    _run(seven_zip(), "a", "-tzip", "-bso0", archive, ".", cwd=folder)


def _python(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path in sorted(folder.rglob("*")):
            made.write(path, path.relative_to(folder))


def _python_streamed(folder: Path, archive: Path) -> None:
    """To what cannot seek: data descriptors; and every member in ZIP64's fields."""
    with archive.open("wb") as file, zipfile.ZipFile(_Pipe(file), "w") as made:  # type: ignore[call-overload]
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(str(path.relative_to(folder)), STAMP)
                info.compress_type = zipfile.ZIP_DEFLATED if path.suffix == ".txt" else zipfile.ZIP_STORED
                with made.open(info, "w", force_zip64=True) as member:
                    member.write(path.read_bytes())
            else:
                made.writestr(f"{path.relative_to(folder)}/", b"")


def _jar(folder: Path, archive: Path) -> None:
    program = shutil.which("jar") or shutil.which("fastjar")
    assert program is not None, "neither jar nor fastjar: .ci/packages installs one"
    _run(program, "cf", archive, ".", cwd=folder)


MAKERS: dict[str, Maker] = {
    "info-zip": _info_zip,
    "info-zip-stored": _info_zip_stored,
    "info-zip-64": _info_zip_64,
    "info-zip-piped": _info_zip_piped,
    "7-zip": _seven_zip,
    "python": _python,
    "python-streamed": _python_streamed,
    "jar": _jar,
}


def seven_zip() -> str:
    """7-Zip's program; Debian's two packages call it differently."""
    program = shutil.which("7z") or shutil.which("7zz")
    assert program is not None, "neither 7z nor 7zz: .ci/packages installs one"
    return program


class _Pipe:
    """A file that can only be written on."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self.write = file.write
        self.flush = file.flush


HOSTILE = (
    "/etc/passwd", "../../../evil", "a//b", "./c", "back\\slash", "C:\\windows", "100%41", "n" * 300 + ".jpg",
    "twin.txt", "twin.txt", "twin.txt", "both", "both/inner", "deep/" * 40 + "x", "-rf", " ", "new\nline",
    "\x1b[31mred", ".pictofs",
)  # fmt: skip


def hostile(archive: Path) -> None:
    """Names that a careless reader follows out of the folder, or cannot show; every body tells its number."""
    with warnings.catch_warnings(), zipfile.ZipFile(archive, "w") as made:
        warnings.simplefilter("ignore")      # zipfile's, of twins
        for number, name in enumerate(HOSTILE):
            info = zipfile.ZipInfo("x", STAMP)
            info.filename = name             # the constructor would mend it
            info.compress_type = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
            made.writestr(info, body(number))


def body(number: int) -> bytes:
    """Of a hostile member."""
    return f"member {number}\n".encode() * 20


CODE_PAGE_NAME = "café \u2592.txt"
EXTRA_NAME = "naïve 写真.txt"


def code_pages(archive: Path) -> None:
    """A name in code page 437, and one whose UTF-8 is in Info-ZIP's extra field."""
    plain = "na_ve __.txt"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr(_Legacy(CODE_PAGE_NAME, STAMP), b"437")
        named = _Legacy(plain, STAMP)
        name = EXTRA_NAME.encode()
        named.extra = struct.pack("<HHBL", 0x7075, 5 + len(name), 1, zipfile.crc32(plain.encode())) + name
        made.writestr(named, b"7075")


class _Legacy(zipfile.ZipInfo):
    """A member whose name is in code page 437 without the flag of UTF-8."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.filename.encode("cp437"), self.flag_bits & ~0x800


def damaged(archive: Path) -> None:
    """Members that are not what the directory says: `good.txt` is."""
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("crc.txt", "longer.txt", "shorter.txt", "nowhere.bin", "good.txt"):
            method = zipfile.ZIP_STORED if name == "nowhere.bin" else zipfile.ZIP_DEFLATED
            made.writestr(zipfile.ZipInfo(name, STAMP), name.encode() * 500, method)
        infos = {info.filename: info for info in made.filelist}
        infos["crc.txt"].CRC ^= 1
        infos["longer.txt"].file_size -= 1      # it inflates to more than it says: a bomb would
        infos["shorter.txt"].file_size += 1
        infos["nowhere.bin"].header_offset += 3


def shifted(archive: Path) -> None:
    """A directory that says it lies later than it does: so its members begin before the archive."""
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.txt", b"a" * 100)
        made.writestr("b.txt", b"b" * 100, zipfile.ZIP_DEFLATED)
    whole = bytearray(archive.read_bytes())
    at = len(whole) - 22 + 16    # in the record at the end, which has no comment
    struct.pack_into("<L", whole, at, struct.unpack_from("<L", whole, at)[0] + 1000)
    archive.write_bytes(whole)


def many(archive: Path, count: int) -> None:
    """So many members, empty and stored, a thousand a folder; past 65,535 of them in ZIP64."""
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"x"
    entry = struct.Struct("<4s4B4H3L5H2L")
    with archive.open("wb") as file:
        file.write(local)
        size_bytes = 0
        for start in range(0, count, 10_000):
            piece = b"".join(
                entry.pack(b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
                for number in range(start, min(count, start + 10_000))
                for name in [b"%04d/%03d.txt" % divmod(number, 1000)]
            )
            size_bytes += file.write(piece)
        at = len(local) + size_bytes
        end = struct.Struct("<4sQ2H2L4Q")
        file.write(end.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size_bytes, len(local)))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, at, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
