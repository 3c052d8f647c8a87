"""`--images N`: datasets of any size whose rows and bytes are made on demand from an image's index.

Names repeat a pattern of 100 (see `place`): twins by stem, by case and by Unicode normal form, one filename
in two directories, names near the length limit; `hostile` adds what a file name cannot hold. Sizes, statuses,
splits and annotations depend on the index alone, so sums over a million images are arithmetic, not a scan.
"""

from __future__ import annotations

import random
import re
import struct
import unicodedata
import zlib
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator

from pictofs.emulator.content import StoredObject
from pictofs.emulator.identity import EPOCH_US, IndexedIds, named_id, slug_of
from pictofs.emulator.model import Annotation, Dataset, Image, ImageTable, Totals
from pictofs.emulator.padding import Prefix
from pictofs.emulator.service import image_key
from pictofs.emulator.settings import SPLITS, STATUSES, EmulatorSettings, weights

PATTERN = 100  # images after which the kinds of names repeat
CYCLE = 1000  # images after which statuses, splits, sizes and annotation counts repeat
WIDTH = HEIGHT = 32
_SHARDS = 16
_PERIOD = 8000  # after which names' directories (PATTERN * _SHARDS) and traits (CYCLE) repeat together
_SECOND_US = 1_000_000
_VARIANTS = 61
_TAIL_BYTES = 768  # what follows the shared prefix: the template and some hundred bytes of the image's own
_KEPT = 4096  # images, 5 MB: one that is listed is signed, and read, soon
_SPREAD = 257  # sizes vary by up to 256 bytes, so that a mixed-up object shows

# A grey 32 x 32 baseline JPEG of a dark disc, 320 bytes: what every synthetic JPEG decodes to.
_TEMPLATE = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7"
    "gYKBTmCNl4x9lnN+gXz/wAALCAAgACABAREA/8QAFwABAQEBAAAAAAAAAAAAAAAAAwAGBf/EAB8QAAEEAgIDAAAAAAAAAAAAAAEA"
    "AgMEETETFCFhkf/aAAgBAQAAPwDuoLFyvVxzytYTobPwKr3K9rPBK15Gxo/CnQXbHVqSTYyWjwPegshLK+aR0kji57jkkqilfDI2"
    "SNxa9pyCFr6VjtVI5sYLh5HvRVdr9qpJDnBcPB97CyEsT4ZHRyNLXtOCCqKJ80jY42lz3HAAWvpV+rUjhzktHk+9lOgsU69rHPE1"
    "5Gjo/QqvTr1c8ETWE7Oz9Kdf/9k="
)
_NFC, _NFD = "caf\u00e9 \u00fcber", unicodedata.normalize("NFD", "caf\u00e9 \u00fcber")
_DIGITS = re.compile(r"\d+")


def place(index: int, names: str) -> tuple[str, str]:
    """Directory and filename of an image: unique as a pair; the filename holds `index` or `index // 100`."""
    block, slot = divmod(index, PATTERN)
    if names != "plain":
        special = _mixed(block, slot)
        if special is None and names == "hostile":
            special = _hostile(block, slot)
        if special is not None:
            return special
    shard = index // PATTERN % _SHARDS
    return (
        (f"/part_{shard // 4}/shard_{shard:02d}", f"img_{index:07d}.jpg")
        if slot >= 40
        else ("/", f"img_{index:07d}.jpg")
    )


def _mixed(block: int, slot: int) -> tuple[str, str] | None:
    match slot:
        case 0:
            return "/", f"frame_{block:05d}.jpg"
        case 1:
            return "/", f"frame_{block:05d}.png"  # shares its stem with slot 0
        case 2:
            return "/left", f"same_{block:05d}.jpg"
        case 3:
            return "/right", f"same_{block:05d}.jpg"  # the same filename in another directory
        case 4:
            return "/case", f"Photo_{block:05d}.jpg"
        case 5:
            return "/case", f"photo_{block:05d}.jpg"
        case 6:
            return "/Straße/北京", f"图像 {block:05d} – ñandú 🚗.jpg"
        case 7:
            return "/forms", f"{_NFC} {block:05d}.jpg"
        case 8:
            return "/forms", f"{_NFD} {block:05d}.jpg"  # the same to the eye
        case 9:
            return "/long", f"{'a-very-long-name-' * 13}{block:05d}.jpg"  # 230 bytes
        case 10:
            return "/marks", f"100% a+b #{block:05d}? & 'c' = \"d\".jpg"
        case 11:
            return "/deep/" + "/".join(f"level_{n}" for n in range(12)), f"deep_{block:05d}.jpg"
        case 12:
            return "/", f".hidden_{block:05d}.jpg"
        case 13:
            return "/", f"no_extension_{block:05d}"
    return None


def _hostile(block: int, slot: int) -> tuple[str, str] | None:
    match slot:
        case 20:
            return "/", f"inner/slash_{block:05d}.jpg"
        case 21:
            return "/inner", f"slash_{block:05d}.jpg"  # shares the path of slot 20 in dialect c
        case 22:
            return "/", f"bell\x07tab\t{block:05d}.jpg"
        case 23:
            return "/", f"line\n{block:05d}.jpg"
        case 24:
            return "/", f"{'很长的名字' * 30}{block:05d}.jpg"  # 459 bytes: no file name holds it
        case 25:
            return "/", f"{'很长的名字' * 30}{block:05d}.png"
        case 26:
            return "/", f" lead and trail {block:05d}.jpg "
        case 27:
            return "/", f"back\\slash_{block:05d}.jpg"
        case 28:
            return "/", f"..{block:05d}.."
        case 29:
            return "/", f"100%25_{block:05d}.jpg"  # looks percent-encoded already
    return None


class SyntheticImages:
    """The base of one synthetic dataset: rows by index, ids that lead back to their index."""

    def __init__(self, dataset_id: str, count: int, settings: EmulatorSettings) -> None:
        self._dataset_id, self._count, self._names = dataset_id, count, settings.names
        self._ids = IndexedIds(f"{settings.seed}:{dataset_id}")
        pick = random.Random(f"{settings.seed}:synthetic")
        self._statuses = _dealt(weights(settings.statuses, STATUSES, "--statuses"), pick)
        self._splits = [
            None if name == "none" else name
            for name in _dealt(weights(settings.splits, SPLITS, "--splits"), pick)
        ]
        annotated = CYCLE * settings.annotated // 100
        self._counts = [pick.randint(1, 6) if slot < annotated else 0 for slot in range(CYCLE)]
        pick.shuffle(self._counts)
        self._templates = {"image/jpeg": _jpeg(), "image/png": _png()}
        self._size = max(_TAIL_BYTES * 2, settings.image_bytes)
        self._sizes = [self._size + slot * 37 % _SPREAD for slot in range(CYCLE)]
        self._prefixes: dict[tuple[str, int], Prefix] = {}
        self._made: dict[int, Image] = {}

    def _prefix(self, content_type: str, index: int) -> Prefix:
        # Neighbours have other prefixes, so that bytes of the wrong image show in every part of a file.
        key = (content_type, index % _VARIANTS)
        found = self._prefixes.get(key)
        if found is None:
            found = Prefix(self._templates[content_type], self._size - _TAIL_BYTES, key[1])
            self._prefixes[key] = found
        return found

    def __len__(self) -> int:
        return self._count

    def index_of(self, image_id: str) -> int | None:
        """The index of one of this dataset's ids."""
        index = self._ids.index_of(image_id)
        return index if index is not None and index < self._count else None

    def matching(self, status: str | None, split: str | None, directory_path: str | None) -> Iterator[int]:
        """Ascending indexes with these traits: found in one period of all patterns, then repeated."""
        hits = [
            index
            for index in range(min(_PERIOD, self._count))
            if (status is None or self._statuses[index % CYCLE] == status)
            and (split is None or self._splits[index % CYCLE] == split)
            and (directory_path is None or place(index, self._names)[0] == directory_path)
        ]
        for start in range(0, self._count, _PERIOD):
            yield from (start + hit for hit in hits if start + hit < self._count)

    def directories(self) -> Counter[str]:
        """How many images lie in each directory: whole periods, and the rest."""
        periods, rest = divmod(self._count, _PERIOD)
        found: Counter[str] = Counter()
        if periods:
            one = Counter(place(index, self._names)[0] for index in range(_PERIOD))
            found.update({path: count * periods for path, count in one.items()})
        found.update(place(index, self._names)[0] for index in range(rest))
        return found

    def candidates(self, filename: str) -> list[int]:
        """Every number in the filename, as an index and as a block."""
        found: set[int] = set()
        for digits in _DIGITS.findall(filename)[:8]:
            number = int(digits[:12])
            found.add(number)
            if self._names != "plain":
                found.update(range(number * PATTERN, number * PATTERN + 30))
        return sorted(index for index in found if index < self._count)

    def totals(self) -> Totals:
        """Sums over all, from whole cycles and the rest."""
        cycles, rest = divmod(self._count, CYCLE)

        def total(values: list[int]) -> int:
            return cycles * sum(values) + sum(values[:rest])

        complete = [int(status == "complete") for status in self._statuses]
        return Totals(self._count, total(complete), total(self._counts), total(self._sizes))

    def image(self, index: int) -> Image:
        """The image of this index."""
        image = self._made.get(index)
        if image is None:
            if len(self._made) >= _KEPT:
                self._made.clear()
            image = self._made[index] = self._make(index)
        return image

    def _make(self, index: int) -> Image:
        slot = index % CYCLE
        directory_path, filename = place(index, self._names)
        image_id = self._ids.id_of(index)
        created_us = EPOCH_US + index * _SECOND_US
        count, size = self._counts[slot], self._sizes[slot]
        content_type = "image/png" if filename.endswith(".png") else "image/jpeg"
        return Image(
            image_id,
            self._dataset_id,
            filename,
            directory_path,
            self._statuses[slot],
            self._splits[slot],
            (),
            count,
            WIDTH,
            HEIGHT,
            created_us,
            StoredObject(
                image_key(self._dataset_id, image_id, filename),
                self._prefix(content_type, index).content(size, index),
                content_type,
                created_us,
                created_us,
            ),
            lambda: _annotations(image_id, index, count),
        )


def _annotations(image_id: str, index: int, count: int) -> list[Annotation]:
    pick = random.Random(index)
    made = []
    for number in range(count):
        x, y = pick.randint(0, WIDTH - 9), pick.randint(0, HEIGHT - 9)
        box = {"x": float(x), "y": float(y), "w": float(pick.randint(2, 8)), "h": float(pick.randint(2, 8))}
        name = pick.choice(("cell", "spot"))
        made.append(
            {
                "id": f"{image_id}-{number}",
                "name": name,
                "type": "bbox",
                "bounding_box": box,
                "confidence": 1.0,
                "attributes": [],
            }
        )
    return made


def _dealt(shares: dict[str, int], pick: random.Random) -> list[str]:
    # One cycle of values in the given proportions, shuffled.
    total = sum(shares.values())
    values = [name for name, share in shares.items() for _ in range(round(CYCLE * share / total))]
    values = (values + [max(shares, key=lambda name: shares[name])] * CYCLE)[:CYCLE]
    pick.shuffle(values)
    return values


def _png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes((x * 8) & 255 for x in range(WIDTH)) for _ in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def _jpeg() -> bytes:
    return b64decode(_TEMPLATE)


def synthetic(number: int, settings: EmulatorSettings) -> Dataset:
    """Synthetic dataset `number` (from 0) as the settings have it."""
    name = "Synthetic" if number == 0 else f"Synthetic {number + 1}"
    identity = named_id("synthetic dataset", settings.seed, number)
    base = SyntheticImages(identity, settings.images, settings)
    created_us = EPOCH_US - _SECOND_US * (settings.datasets - number)
    return Dataset(
        identity,
        name,
        slug_of(name, identity),
        created_us,
        EPOCH_US + settings.images * _SECOND_US,
        ImageTable(base),
        description="Images made on demand",
        classes=[
            {"name": "cell", "type": "bbox", "color": "#e6194b"},
            {"name": "spot", "type": "bbox", "color": "#3cb44b"},
        ],
    )
