from __future__ import annotations

import pytest

from pictofs.api.address import Address, segment
from pictofs.errors import UsageError


@pytest.mark.parametrize(
    ("base_url", "origin", "prefix"),
    [
        ("https://api.test", "https://api.test:443", "/api/v1/developer"),
        ("https://api.test/", "https://api.test:443", "/api/v1/developer"),
        ("https://api.test/api/v1/developer", "https://api.test:443", "/api/v1/developer"),
        ("https://api.test/api/v1/developer/", "https://api.test:443", "/api/v1/developer"),
        ("HTTP://API.Test:8080", "http://api.test:8080", "/api/v1/developer"),
        ("http://[::1]:99", "http://[::1]:99", "/api/v1/developer"),
        ("https://proxy.test/picto", "https://proxy.test:443", "/picto/api/v1/developer"),
    ],
)
def test_a_base_url_may_come_with_or_without_the_api_path(base_url: str, origin: str, prefix: str) -> None:
    assert Address.parse(base_url) == Address(origin, prefix)


@pytest.mark.parametrize(
    "base_url",
    ["", "api.test", "ftp://api.test", "https://", "https://h:bad", "https://h?key=1", "https://user:pass@h"],
)
def test_what_is_no_base_url_is_refused_without_repeating_it(base_url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Address.parse(base_url)
    assert "pass" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("supplied", "endpoint"),
    [
        ("/api/v1/developer/annotations/1/file", "/annotations/1/file"),
        ("https://evil.test/api/v1/developer/annotations/a%20b?v=2", "/annotations/a%20b?v=2"),
        ("//evil.test/api/v1/developer/annotations/x", "/annotations/x"),
        ("https://user@evil.test/annotations/x", "/annotations/x"),
        ("@evil.test/x", "/@evil.test/x"),
        ("annotations/x", "/annotations/x"),
        ("/api/v1/developer/annotations/a b/ü.jpg", "/annotations/a%20b/%C3%BC.jpg"),
    ],
)
def test_a_supplied_url_never_decides_the_host(supplied: str, endpoint: str) -> None:
    address = Address.parse("https://api.test/behind")
    assert address.endpoint(supplied) == endpoint
    assert address.url(address.endpoint(supplied)).startswith("https://api.test:443/behind/api/v1/developer/")


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/elsewhere?x=1", "https://api.test:443/elsewhere?x=1"),
        ("https://api.test/elsewhere", "https://api.test:443/elsewhere"),
        ("https://API.test:443/e", "https://api.test:443/e"),
        ("http://api.test/e", None),
        ("https://api.test:444/e", None),
        ("https://evil.test/e", None),
        ("//evil.test/e", None),
        ("https://api.test@evil.test/e", None),
        ("https://u:p@api.test/e", None),
        ("https://api.test:bad/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_redirect_is_ours_only_with_scheme_host_and_port(location: str, target: str | None) -> None:
    assert Address.parse("https://api.test").redirected("https://api.test:443/api/v1/x", location) == target


def test_a_path_that_could_extend_the_host_is_never_joined() -> None:
    with pytest.raises(ValueError, match="slash"):
        Address.parse("https://api.test").url("@evil.test/x")


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("a b/c", "a%20b%2Fc"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("ü?#&%41", "%C3%BC%3F%23%26%2541"),
        ("\ud800", "%ED%A0%80"),
        ("a.b~c-d_e", "a.b~c-d_e"),
    ],
)
def test_every_name_fits_into_one_path_segment(name: str, encoded: str) -> None:
    assert segment(name) == encoded


def test_query_values_are_encoded_and_join_a_path_that_has_some() -> None:
    address = Address.parse("https://api.test")
    assert address.url("/x", [("a", "b c&d"), ("e", "/")]).endswith("/x?a=b+c%26d&e=%2F")
    assert address.url("/x?y=1", [("a", "2")]).endswith("/x?y=1&a=2")
    assert address.url("/x?y=1").endswith("/x?y=1")
