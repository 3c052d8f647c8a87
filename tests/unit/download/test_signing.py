from __future__ import annotations

import pytest

from pictofs.api import Image, Link, Links
from pictofs.download.signing import DEFAULT_LIFE_S, RENEWALS_IN_VAIN, Signing
from pictofs.errors import RateLimited


class Service:
    """Signs what it is told to, and counts."""

    def __init__(self) -> None:
        self.batches: dict[str | None, Links] = {}
        self.asked: list[str | None] = []
        self.now_s = 1000.0

    def sign(self, status: str | None) -> Links:
        self.asked.append(status)
        return self.batches[status]

    def signing(self, *images: Image, status: str | None = None) -> Signing:
        return Signing(self.sign, images, status=status, wall_s=lambda: self.now_s)


def image(identity: str, name: str = "a.jpg", where: str = "/", status: str = "new") -> Image:
    return Image(id=identity, filename=name, directory_path=where, status=status)


def url_of(signing: Signing, of: Image) -> str | None:
    found = signing.url(of)
    return found and found.url


def test_one_batch_serves_every_image_until_nine_tenths_of_its_life() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="u1"), Link(id="2", url="u2")], expires_s=2000.0)
    signing = service.signing()
    assert [url_of(signing, image(each)) for each in "12"] == ["u1", "u2"]
    service.now_s = 1899.0
    assert url_of(signing, image("1")) == "u1"
    assert service.asked == [None]
    service.now_s = 1901.0
    assert url_of(signing, image("1")) == "u1"
    assert service.asked == [None, None]


def test_a_batch_that_tells_no_expiry_is_used_for_a_few_minutes() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="u1")])
    signing = service.signing()
    signing.url(image("1"))
    service.now_s += DEFAULT_LIFE_S
    signing.url(image("1"))
    assert service.asked == [None, None]


def test_beyond_the_cap_the_batch_of_the_images_status_is_asked_for_once() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="u1")], capped=True)
    service.batches["new"] = Links(items=[Link(id="2", url="u2")], capped=True)
    signing = service.signing()
    assert url_of(signing, image("2")) == "u2"
    assert url_of(signing, image("3")) is None
    assert service.asked == [None, "new"]


def test_with_a_status_only_its_batch_is_asked_for() -> None:
    service = Service()
    service.batches["new"] = Links(items=[Link(id="1", url="u1")])
    signing = service.signing(status="new")
    assert url_of(signing, image("1")) == "u1"
    assert url_of(signing, image("2")) is None
    assert service.asked == ["new"]


def test_a_link_without_id_goes_by_directory_and_name() -> None:
    service = Service()
    service.batches[None] = Links(
        items=[
            Link(filename="a.jpg", directory_path="/x", url="ux"),
            Link(filename="a.jpg", directory_path="/", url="u"),
        ]
    )
    signing = service.signing()
    assert url_of(signing, image("1", where="/x")) == "ux"
    assert url_of(signing, image("2")) == "u"


def test_a_link_with_a_name_alone_is_used_only_where_nothing_else_has_that_name() -> None:
    service = Service()
    one, twin, other = image("1"), image("2", where="/x"), image("3", "b.jpg")
    service.batches[None] = Links(
        items=[Link(filename=f"{name}.jpg", url=f"u{name}") for name in ("a", "b", "c", "c")]
    )
    signing = service.signing(one, twin, other, image("4", "c.jpg"))
    assert [url_of(signing, each) for each in (one, twin, other)] == [None, None, "ub"]
    assert url_of(signing, image("4", "c.jpg")) is None


def test_a_refused_url_makes_its_batch_be_asked_for_anew_once_for_all_its_images() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="u1"), Link(id="2", url="u2")])
    signing = service.signing()
    first, second = signing.url(image("1")), signing.url(image("2"))
    assert first is not None
    assert second is not None
    assert signing.refused(first)
    signing.url(image("1"))
    assert signing.refused(second)  # of the batch before: nothing to be asked for
    signing.url(image("2"))
    assert service.asked == [None, None]


def test_a_host_that_refuses_all_is_believed_after_a_few_batches() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="u1")])
    signing = service.signing()
    for _ in range(RENEWALS_IN_VAIN):
        found = signing.url(image("1"))
        assert found is not None
        assert signing.refused(found)
    found = signing.url(image("1"))
    assert found is not None
    assert not signing.refused(found)
    signing.arrived()
    assert signing.refused(found)


def test_a_batch_that_cannot_be_had_is_asked_for_once() -> None:
    asked = []

    def sign(status: str | None) -> Links:
        asked.append(status)
        raise RateLimited("spent")

    signing = Signing(sign, [])
    for _ in range(3):
        with pytest.raises(RateLimited):
            signing.url(image("1"))
    assert asked == [None]


def test_a_signed_url_is_never_shown() -> None:
    service = Service()
    service.batches[None] = Links(items=[Link(id="1", url="https://secret")])
    assert "secret" not in repr(service.signing().url(image("1")))
