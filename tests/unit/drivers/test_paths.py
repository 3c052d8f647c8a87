"""Names that are believed for a while, and which version of a path the kernel may hold pages of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pictofs.config import Settings
from pictofs.drivers import choose, paths
from pictofs.drivers.operations import Operations, path_codec
from pictofs.drivers.paths import Names, OpenFiles

OLD, NEW = (10, 1, 100), (20, 2, 200)


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_name_is_believed_as_long_as_it_is_valid() -> None:
    clock = Clock()
    names = Names(clock)
    names.put(1, "a", 7, 10.0)
    names.put(1, "b", None, 10.0)
    names.put(1, "c", 8, 0.0)
    assert (names.get(1, "a"), names.get(1, "b"), names.get(1, "c")) == ((7,), (None,), None)
    clock.s = 10.1
    assert names.get(1, "a") is None


def test_names_that_lead_elsewhere_are_forgotten() -> None:
    names = Names(Clock())
    names.put(1, "a", 7, 10.0)
    names.forget([(1, "a"), (1, "never seen")])
    assert names.get(1, "a") is None


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "NAMES", 3)
    names = Names(Clock())
    for number in range(5):
        names.put(1, str(number), number, 10.0)
    assert [names.get(1, str(number)) for number in range(5)] == [None, None, (2,), (3,), (4,)]


def test_pages_are_kept_from_one_open_to_the_next_of_the_same_version() -> None:
    files = OpenFiles()
    first, direct, keep = files.open("/x", OLD, None)
    assert (direct, keep) == (False, False)
    files.close(first)
    _, direct, keep = files.open("/x", OLD, None)
    assert (direct, keep) == (False, True)


def test_pages_of_another_version_are_not_kept() -> None:
    files = OpenFiles()
    files.close(files.open("/x", OLD, None)[0])
    number, direct, keep = files.open("/x", NEW, None)
    assert (direct, keep) == (False, False)
    files.close(number)
    assert files.open("/x", OLD, None)[2] is False


def test_a_version_opened_while_another_is_open_passes_the_page_cache_by() -> None:
    files = OpenFiles()
    old = files.open("/x", OLD, None)[0]
    new, direct, keep = files.open("/x", NEW, None)
    assert (direct, keep) == (True, False)
    assert files.outdated(files.get(old))
    assert not files.outdated(files.get(new))
    files.close(old)
    assert files.open("/x", NEW, None)[1:] == (False, False)


def test_a_reader_is_outdated_once_the_new_version_was_shown() -> None:
    files = OpenFiles()
    handle = files.get(files.open("/x", OLD, None)[0])
    files.show("/x", OLD)
    files.show("/other", NEW)
    assert not files.outdated(handle)
    files.show("/x", NEW)
    assert files.outdated(handle)
    files.show("/x", OLD)
    assert not files.outdated(handle)


def test_rendered_text_never_enters_the_page_cache() -> None:
    files = OpenFiles()
    number, direct, keep = files.open("/c", OLD, b"text")
    assert (direct, keep) == (True, False)
    assert files.get(number).text == b"text"
    assert not files.outdated(files.get(number))
    files.close(number)
    assert files.get(number) is None


def test_nothing_is_kept_of_what_is_closed() -> None:
    files = OpenFiles()
    numbers = [files.open(f"/{n % 5}", (n % 3, 0, 0), b"t" if n % 7 == 0 else None)[0] for n in range(200)]
    for number in [*numbers, *numbers]:
        files.close(number)
    assert not files._paths
    assert not files._handles


def refusal(number: int) -> OSError:
    return _Refused(number, "refused")


class _Refused(OSError):
    pass


@pytest.mark.logs_traceback
@pytest.mark.parametrize(
    ("error", "number"),
    [(OSError(2, ""), 2), (OSError(-2, ""), 5), (OSError(), 5), (ValueError("x"), 5), (KeyError("x"), 5)],
)
def test_nothing_leaves_the_wrapper_but_a_positive_errno(error: Exception, number: int) -> None:
    operations = Operations(SimpleNamespace(), refusal)

    def broken(path: str) -> None:
        raise error

    operations.getattr = broken
    with pytest.raises(_Refused) as caught:
        operations("getattr", "/x")
    assert caught.value.errno == number


def test_any_bytes_are_a_path() -> None:
    name = path_codec()
    assert b"/\xff\xc3\xbc".decode(name) == "/\udcff\xfc"
    assert "/\udcff\xfc".encode(name) == b"/\xff\xc3\xbc"
    assert path_codec() == name


def test_the_driver_is_the_one_asked_for() -> None:
    assert choose(Settings(driver="fusepy")) == "fusepy"
    assert choose(Settings(driver="kernel")) == "kernel"
    assert choose(Settings()) in ("kernel", "fusepy")
