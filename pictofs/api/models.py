"""What the service says, in no dialect: one frozen struct a thing, and how each is read from a row. Pure.

A field that a dialect does not send has its default (None where "unknown" differs from zero or empty); fields
that pictofs does not know are kept in `document` alone. `document` is the row as JSON for the mount, with the
service's key order, and without what is another file's business or a secret: embedded images, signed URLs.
Callers that know only names and ids (from a catalog, say) make these structs themselves to ask with.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pictofs.api.documents import load, render
from pictofs.api.refusals import misshapen
from pictofs.api.times import is_signed, parse_ns, parse_s, signed_expiry_s

CLOCK_SLACK_S = 60.0


class _Named(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Fields are attributes, and items too: `dataset["name"]`, as the oldest documents write it."""

    def __getitem__(self, field: str) -> Any:
        """A field, else what the service's own document has under that name. KeyError."""
        if field in self.__struct_fields__:
            return getattr(self, field)
        return load(getattr(self, "document", b"{}"))[field]


class Organization(_Named, frozen=True, kw_only=True):
    """Who a key belongs to. Where the service does not say (dialect A), `id` and `slug` are empty.

    `role` is the key's, "" where the service does not say.
    """

    id: str = ""
    name: str = "organization"
    slug: str = ""
    role: str = ""
    document: bytes = b"{}\n"


class Image(_Named, frozen=True, kw_only=True, gc=False):
    """One image of a listing. `annotation_url` is an API URL that needs the key, or None."""

    id: str = ""
    filename: str
    directory_path: str = "/"
    file_size: int | None = None
    width: int | None = None
    height: int | None = None
    content_type: str = ""
    status: str = ""
    split: str = ""
    tags: tuple[str, ...] = ()
    annotation_count: int | None = None
    is_archived: bool = False
    created_ns: int = 0
    annotation_url: str | None = None


class Dataset(_Named, frozen=True, kw_only=True):
    """One dataset. `fingerprint` differs when anything that the service counts or dates has changed.

    `classes` are as the service sends them, so that `projects.update` can send them back.
    """

    id: str = ""
    name: str = ""
    slug: str = ""
    description: str = ""
    image_count: int = 0
    completed_image_count: int = 0
    archived_image_count: int = 0
    annotation_count: int = 0
    total_size: int = 0          # bytes; 0 in dialect A
    classes: tuple[dict[str, Any], ...] = ()
    annotation_types: tuple[str, ...] = ()
    is_archived: bool = False
    created_ns: int = 0
    updated_ns: int = 0
    organization_id: str = ""
    fingerprint: str = ""
    document: bytes = b"{}\n"
    images: list[Image] | None = None   # only when they were asked for

    @property
    def path_slug(self) -> str:
        """What dialect A names it by in a path."""
        return self.slug or self.name


class Export(_Named, frozen=True, kw_only=True):
    """One export, in whatever state: `status` is pending, processing, completed or failed."""

    id: str = ""
    name: str
    dataset_id: str = ""
    dataset_name: str = ""       # the slug in dialect A
    format: str = ""
    status: str = ""
    error_message: str = ""
    include_images: bool | None = None
    class_filter: tuple[str, ...] = ()
    status_filter: str = ""
    file_size: int | None = None
    image_count: int | None = None
    annotation_count: int | None = None
    created_ns: int = 0
    completed_ns: int = 0
    expires_ns: int = 0
    document: bytes = b"{}\n"


class Link(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A signed URL and what it is of. Secret: the repr does not show it.

    `url` is empty where the mode leaves images out; `expires_s` is Unix time by our own clock, None where
    nothing says it; `directory_path` is None where the service leaves it out.
    """

    url: str = ""
    id: str = ""
    filename: str = ""
    directory_path: str | None = None
    annotation_url: str | None = None
    expires_s: float | None = None
    file_size: int | None = None

    def __repr__(self) -> str:
        """Without the URL."""
        return f"Link({self.id or self.filename!r})"


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """One batch. `capped`: the service stopped at its cap, so there may be more than these."""

    items: list[Link]
    expires_s: float | None = None
    capped: bool = False

    def __repr__(self) -> str:
        """Only how many."""
        return f"Links({len(self.items)} items)"


# The rows as they are sent: every dialect's name for a field. Loose types, since a number may come as 1.0.
_Number = int | float | None


class _DatasetRow(msgspec.Struct):
    id: str | int = ""
    name: str = ""
    slug: str | None = None
    description: str | None = None
    image_count: _Number = None
    completed_image_count: _Number = None
    archived_image_count: _Number = None
    archived_images: _Number = None              # B
    annotation_count: _Number = None
    total_size: _Number = None
    classes: list[Any] | None = None
    annotation_types: list[Any] | None = None
    is_archived: bool | None = None
    created_at: Any = None
    updated_at: Any = None
    organization_id: str | int | None = None


class _ImageRow(msgspec.Struct, gc=False):
    filename: str
    id: str | int = ""
    directory_path: str | None = None
    virtual_folder_path: str | None = None       # B
    file_size: _Number = None
    width: _Number = None
    height: _Number = None
    image_width: _Number = None                  # B
    image_height: _Number = None
    content_type: str | None = None
    mime_type: str | None = None                 # B
    status: str | None = None
    split: str | None = None
    tags: list[Any] | None = None
    annotation_count: _Number = None
    is_archived: bool | None = None
    created_at: Any = None
    annotation_url: str | None = None


class _ExportRow(msgspec.Struct):
    name: str
    id: str | int = ""
    dataset_id: str | int | None = None
    project_id: str | int | None = None          # B
    dataset_name: str | None = None
    format: str | None = None
    status: str | None = None
    error_message: str | None = None
    include_images: bool | None = None
    class_filter: list[Any] | None = None
    status_filter: str | None = None
    file_size: _Number = None
    image_count: _Number = None
    annotation_count: _Number = None
    created_at: Any = None
    completed_at: Any = None
    expires_at: Any = None


class _LinkRow(msgspec.Struct, gc=False):
    filename: str = ""
    id: str | int | None = None
    directory_path: str | None = None
    virtual_folder_path: str | None = None
    download_url: str | None = None              # A, and an export's in all
    image_url: str | None = None                 # B, C
    annotation_url: str | None = None
    expires_at: Any = None
    file_size: _Number = None


def organization(row: dict[str, Any]) -> Organization:
    """The organization of a `me` body."""
    given = {field: str(row.get(field) or "") for field in ("id", "name", "slug", "role")}
    return Organization(**{**given, "name": given["name"] or "organization"}, document=render(_shown(row)))


def dataset(row: dict[str, Any], images: list[Image] | None = None) -> Dataset:
    """A dataset of a list or alone. ServerFault for a row that is none."""
    read = _row(row, _DatasetRow)
    archived_images = read.archived_image_count if read.archived_images is None else read.archived_images
    counts = (
        read.image_count, read.completed_image_count, archived_images, read.annotation_count, read.total_size,
    )  # fmt: skip
    return Dataset(
        id=str(read.id),
        name=read.name,
        slug=read.slug or "",
        description=read.description or "",
        image_count=_whole(read.image_count) or 0,
        completed_image_count=_whole(read.completed_image_count) or 0,
        archived_image_count=_whole(archived_images) or 0,
        annotation_count=_whole(read.annotation_count) or 0,
        total_size=_whole(read.total_size) or 0,
        classes=tuple(each for each in read.classes or () if isinstance(each, dict)),
        annotation_types=tuple(map(str, read.annotation_types or ())),
        is_archived=bool(read.is_archived),
        created_ns=parse_ns(read.created_at),
        updated_ns=parse_ns(read.updated_at),
        organization_id=str(read.organization_id or ""),
        fingerprint="/".join("" if part is None else str(part) for part in (read.updated_at, *counts)),
        document=render(_shown(row, without="images")),
        images=images,
    )


def images(rows: list[Any]) -> list[Image]:
    """The images of a page. ServerFault where a row is none."""
    return [
        Image(
            id=str(read.id),
            filename=read.filename,
            directory_path=read.directory_path or read.virtual_folder_path or "/",
            file_size=_whole(read.file_size),
            width=_whole(read.image_width if read.width is None else read.width),
            height=_whole(read.image_height if read.height is None else read.height),
            content_type=read.content_type or read.mime_type or "",
            status=read.status or "",
            split=read.split or "",
            tags=tuple(map(_tag, read.tags)) if read.tags else (),
            annotation_count=_whole(read.annotation_count),
            is_archived=bool(read.is_archived),
            created_ns=parse_ns(read.created_at),
            annotation_url=read.annotation_url or None,
        )
        for read in _row(rows, list[_ImageRow])
    ]


def export(row: dict[str, Any]) -> Export:
    """An export of a list or alone. ServerFault for a row that is none."""
    read = _row(row, _ExportRow)
    return Export(
        id=str(read.id),
        name=read.name,
        dataset_id=str(read.dataset_id or read.project_id or ""),
        dataset_name=read.dataset_name or "",
        format=read.format or "",
        status=read.status or "",
        error_message=read.error_message or "",
        include_images=read.include_images,
        class_filter=tuple(map(str, read.class_filter or ())),
        status_filter=read.status_filter or "",
        file_size=_whole(read.file_size),
        image_count=_whole(read.image_count),
        annotation_count=_whole(read.annotation_count),
        created_ns=parse_ns(read.created_at),
        completed_ns=parse_ns(read.completed_at),
        expires_ns=parse_ns(read.expires_at),
        document=render(_shown(row, without="download_url")),
    )


def links(rows: list[Any], *, ends_at: Any = None, server_ahead_s: float = 0.0) -> list[Link]:
    """The links of a batch, or an export's. `ends_at` is when the body says that all of them expire.

    Expiries are by the service's clock; where it is over `CLOCK_SLACK_S` off ours they are moved to ours.
    """
    ends_s = parse_s(ends_at)
    ahead_s = server_ahead_s if abs(server_ahead_s) > CLOCK_SLACK_S else 0.0
    found = []
    for read in _row(rows, list[_LinkRow]):
        url = read.download_url or read.image_url or ""
        said = [when for when in (ends_s, parse_s(read.expires_at), signed_expiry_s(url)) if when is not None]
        found.append(
            Link(
                url=url,
                id=str(read.id or ""),
                filename=read.filename,
                directory_path=read.directory_path or read.virtual_folder_path or None,
                annotation_url=read.annotation_url or None,
                expires_s=min(said) - ahead_s if said else None,
                file_size=_whole(read.file_size),
            )
        )
    return found


def _row(row: Any, kind: Any) -> Any:
    why = ""
    try:
        return msgspec.convert(row, kind, strict=False)
    except msgspec.ValidationError as error:
        why = str(error)
    raise misshapen("a listing", why)


def _shown(row: dict[str, Any], without: str = "") -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != without and not is_signed(value)}


def _whole(value: int | float | None) -> int | None:
    if type(value) is int and value >= 0:
        return value
    return None if value is None or value != value or value < 0 else int(value)


def _tag(tag: Any) -> str:
    return str(tag.get("name", "")) if isinstance(tag, dict) else str(tag)
