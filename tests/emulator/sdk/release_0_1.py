"""What the vendor's SDK 0.1 makes of dialect b."""

import zipfile

from pictograph import Client
from told import BASE, DATASET, KEY, mutate, raised, report

client = Client(KEY, base_url=BASE, max_retries=0)
listed = client.datasets.list()
row = next(each for each in listed if each["name"] == DATASET)
whole = client.datasets.get(row["id"])
page = client.datasets.get(row["id"], images_limit=5)
result = client.datasets.download(DATASET, output_dir="out", show_progress=False)
annotated = next(image for image in whole["images"] if image["annotation_count"])
annotations = client.annotations.get(annotated["id"])
metadata = client.images.get(annotated["id"], include_annotations=True)
client.images.download(annotated["id"], "one.jpg")

created = client.exports.create(DATASET, "v0", include_images=True, wait=False)
completed = client.exports.wait_for_completion(DATASET, "v0", poll_interval=0.05, timeout=20)
with zipfile.ZipFile(client.exports.download(DATASET, "v0", "v0.zip", show_progress=False)) as archive:
    members, broken = len(archive.namelist()), archive.testzip()
exports = [each["name"] for each in client.exports.list(dataset_name=DATASET, status="completed")]
client.exports.delete(DATASET, "v0")

refused = {
    "401": raised(Client("pk_live_wrong", base_url=BASE, max_retries=0).datasets.list),
    "404": raised(lambda: client.exports.get(DATASET, "v0")),
    "404 dataset": raised(lambda: client.datasets.get("6b4d6a0e-0000-4000-8000-000000000000")),
}
client.exports.create(DATASET, "twice", wait=False)
refused["409"] = raised(lambda: client.exports.create(DATASET, "twice", wait=False))
mutate("set_role", role="viewer")
refused["403"] = raised(lambda: client.exports.delete(DATASET, "twice"))
mutate("settings", rate_limit=1)
refused["429"] = raised(client.datasets.list)

report(
    names=[each["name"] for each in listed],
    images=len(whole["images"]),
    page=len(page["images"]),
    success=result["success"],
    images_downloaded=result["images_downloaded"],
    annotations_downloaded=result["annotations_downloaded"],
    annotations=len(annotations),
    metadata_annotations=len(metadata["annotations"]),
    annotation_count=annotated["annotation_count"],
    created=created["status"],
    completed=completed["status"],
    file_size=completed["file_size"],
    members=members,
    broken=broken,
    exports=exports,
    refused=refused,
)
