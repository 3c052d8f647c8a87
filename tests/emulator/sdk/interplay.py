"""What a release of the vendor's SDK sees of what the commands did, and what it leaves for them to see."""

import hashlib
import os
import sys
from pathlib import Path

import pictograph
from pictograph import Client
from told import BASE, DATASET, KEY, report

client = Client(KEY, base_url=BASE, max_retries=0)
release = sys.argv[1]


def field(row, name):
    return row[name] if isinstance(row, dict) else getattr(row, name)


def without_images(export):
    return {"status": field(export, "status"), "include_images": field(export, "include_images")}


seen = {
    "release": getattr(pictograph, "__version__", release),
    "datasets": sorted(field(each, "name") for each in client.datasets.list()),
    "export": without_images(client.exports.get(DATASET, "by command")),
    "exports": sorted(field(each, "name") for each in client.exports.list(dataset_name=DATASET)),
}
client.exports.download(DATASET, "by command", "sdk.zip")
seen["archive"] = hashlib.sha256(Path("sdk.zip").read_bytes()).hexdigest()
result = client.datasets.download(DATASET, output_dir="sdk")
seen["counts"] = [field(result, "images_downloaded"), field(result, "annotations_downloaded")]
pictures = [path for path in Path("sdk").rglob("*") if path.suffix in (".jpg", ".png")]
seen["pictures"] = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures)

client.exports.create(DATASET, "by sdk", include_images=True, wait=False)
if release.startswith("1."):
    writes = client.datasets if hasattr(client.datasets, "create") else client.projects
    writes.create("By SDK", description="made by the SDK")
    if "By command" in seen["datasets"]:
        writes.update("By command", description="changed by the SDK")
report(**seen, cwd=os.getcwd())
