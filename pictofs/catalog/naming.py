"""Which name a thing gets, all pure: `is_taken` says what its directory holds already."""

from __future__ import annotations

from collections.abc import Callable

from pictofs import names

IsTaken = Callable[[str], bool]
ZIP = ".zip"
STATUS = ".status.json"
_LONGEST_ZIP = names.LIMIT_BYTES - len(STATUS) + len(ZIP)


def claim(plain: str, mark: str, is_taken: IsTaken) -> str:
    """`plain` when it is free, else with its mark, else a number after that: what `names.settle` does."""
    name = names.fit(plain, mark)
    ordinal = 1
    while is_taken(name):
        name = names.marked(plain, mark if ordinal == 1 else f"{mark}-{ordinal}")
        ordinal += 1
    return name


def annotation_plain(file_name: str, mark: str) -> str:
    """`<stem>.json`, cut where that is too long."""
    return names.fit(f"{names.split_extension(file_name)[0]}.json", mark)


def annotation_name(file_name: str, mark: str, is_taken: IsTaken) -> str:
    """`<stem>.json`; else `<filename>.json`; else that one with its mark."""
    plain = annotation_plain(file_name, mark)
    return plain if not is_taken(plain) else claim(f"{file_name}.json", mark, is_taken)


def export_forms(stem: str) -> tuple[str, str, str]:
    """The three names that an export takes in its folder."""
    return stem + ZIP, stem, stem + STATUS


def export_stem(plain: str, mark: str, is_taken: IsTaken) -> str:
    """A stem all of whose forms fit and are free. What follows a dot in an export's name is no extension."""
    archive = plain + ZIP
    stem = names.fit(archive, mark, _LONGEST_ZIP).removesuffix(ZIP)
    ordinal = 1
    while any(map(is_taken, export_forms(stem))):
        suffix = mark if ordinal == 1 else f"{mark}-{ordinal}"
        stem = names.marked(archive, suffix, _LONGEST_ZIP).removesuffix(ZIP)
        ordinal += 1
    return stem
