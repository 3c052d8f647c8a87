from __future__ import annotations

import pytest

from pictofs.mount import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4096", 4096),
        ("1K", 1024),
        ("500M", 500 << 20),
        ("1.5G", 3 << 29),
        ("2T", 2 << 40),
        ("50g", 50 << 30),
        ("1KiB", 1024),
    ],
)
def test_a_size_takes_k_m_g_t_as_powers_of_1024(text: str, expected: int) -> None:
    assert values.size_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1X", "1 2", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        values.size_bytes(text)


def test_a_share_is_of_the_file_system() -> None:
    share = values.size_or_share("20%")
    assert isinstance(share, values.Share)
    assert share.of(1000) == 200
    assert values.size_or_share("50G") == 50 << 30
    with pytest.raises(ValueError, match="between 0% and 100%"):
        values.size_or_share("120%")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("250ms", 0.25), ("0", 0), ("1.5s", 1.5)],
)
def test_a_time_takes_seconds_or_a_unit(text: str, expected: float) -> None:
    assert values.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1s", "5 weeks", "inf", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a time such as"):
        values.seconds(text)


def test_a_timeout_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        values.some_seconds("0")


def test_a_umask_is_octal() -> None:
    assert values.octal("0222") == 0o222
    assert values.octal("22") == 0o022
    for text in ("9", "-1", "1000", "rwx"):
        with pytest.raises(ValueError, match="octal"):
            values.octal(text)


def test_a_switch_is_on_when_it_is_only_named() -> None:
    assert values.switch("") is True
    assert values.switch("Off") is False
    with pytest.raises(ValueError, match="on or off"):
        values.switch("maybe")


def test_a_url_has_a_host_and_no_password() -> None:
    assert (
        values.url("https://api.example.com/api/v1/developer") == "https://api.example.com/api/v1/developer"
    )
    for text in (
        "api.example.com",
        "ftp://host",
        "https://user:secret@host",
        "http://",
        "http://host:99999",
        "http://h?q=1",
    ):
        with pytest.raises(ValueError, match="a URL"):
            values.url(text)


def test_a_bare_port_listens_on_this_machine_alone() -> None:
    assert values.address("9464") == "127.0.0.1:9464"
    assert values.address("0.0.0.0:9464") == "0.0.0.0:9464"
    for text in ("host", ":80", "h:x", "h:70000"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            values.address(text)


def test_the_first_directory_is_one_name() -> None:
    for text in ("a/b", ".", "..", " "):
        with pytest.raises(ValueError, match=r"name|value"):
            values.file_name(text)


def test_one_of_names_its_words() -> None:
    parse = values.one_of("on", "auto", "off")
    assert parse(" AUTO ") == "auto"
    with pytest.raises(ValueError, match="on, auto or off"):
        parse("never")
