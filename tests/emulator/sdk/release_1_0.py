"""What the vendor's SDK 1.0 makes of dialect b."""

import zipfile

from pictograph import Client
from told import BASE, DATASET, KEY, mutate, raised, report

client = Client(KEY, base_url=BASE, max_retries=0)
listed = client.datasets.list()
paged = client.datasets.iter(page_size=2).all()
whole = client.datasets.get(DATASET, include_images=True)
page = client.datasets.get(DATASET, include_images=True, images_limit=5, images_offset=5)
by_id = client.datasets.get_by_id(whole.id)
seen = []
result = client.datasets.download(
    DATASET, "out", progress=lambda done, total, name: seen.append((done, total))
)
annotated = next(image for image in whole.images if image.annotation_count)
bare = next(image for image in whole.images if not image.annotation_count)
annotations = [a for image in whole.images for a in client.annotations.get(image.id)]
metadata = client.images.get(annotated.id)
one = client.images.download(annotated.id, "one.jpg")

created = client.exports.create(DATASET, "v1", include_images=True, wait=False)
completed = client.exports.wait_for_completion(DATASET, "v1", poll_interval=0.05, timeout=20)
with zipfile.ZipFile(client.exports.download(DATASET, "v1", "v1.zip")) as archive:
    members, broken = len(archive.namelist()), archive.testzip()
exports = [each.name for each in client.exports.iter(dataset_name=DATASET, page_size=1)]
row_url = client.exports.get(DATASET, "v1").download_url
client.exports.delete(DATASET, "v1")

project = client.projects.create("Écrans & cie", description="new", annotation_types=["bbox"])
renamed = client.projects.update("Écrans & cie", new_name="Screens").name
deleted = client.projects.delete("Screens")
organization = client.organizations.me()

refused = {
    "401": raised(Client("pk_live_wrong", base_url=BASE, max_retries=0).datasets.list),
    "404": raised(lambda: client.datasets.get(DATASET.lower())),
    "409": raised(lambda: client.projects.create(DATASET)),
}
mutate("set_role", role="member")
refused["403"] = raised(lambda: client.projects.delete(DATASET))
mutate("settings", rate_limit=1)
refused["429"] = raised(client.datasets.list)

report(
    names=[each.name for each in listed],
    paged=[each.name for each in paged],
    images=len(whole.images),
    page=[image.id for image in page.images] == [image.id for image in whole.images[5:10]],
    by_id=by_id.name,
    success=result.success,
    failures=[each.reason for each in result.failures],
    images_downloaded=result.images_downloaded,
    annotations_downloaded=result.annotations_downloaded,
    progress=seen[-1],
    annotations=len(annotations),
    kinds=sorted({a.type for a in annotations}),
    metadata=[metadata.filename, metadata.width, metadata.height],
    has_annotation_url=[annotated.annotation_url is not None, bare.annotation_url is not None],
    size_agrees=one.stat().st_size == annotated.file_size,
    created=created.status,
    completed=completed.status,
    members=members,
    broken=broken,
    exports=exports,
    row_url=row_url is not None,
    project=[project.name, project.description, renamed, deleted["name"]],
    organization=organization.name,
    refused=refused,
)
