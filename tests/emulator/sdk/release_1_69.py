"""What the vendor's SDK 1.69 makes of dialect c."""

import zipfile

from pictograph import Client
from told import BASE, DATASET, KEY, mutate, raised, report

client = Client(KEY, base_url=BASE, max_retries=0)
listed = client.datasets.list()
paged = client.datasets.iter(page_size=2).all()
whole = client.datasets.get(DATASET, include_images=True)
by_id = client.datasets.get(dataset_id=whole.id, include_images=True, images_limit=5, images_offset=5)
newest = client.images.list(DATASET, limit=3)
everything = client.images.iter(DATASET, page_size=5).all()
complete = client.images.list(DATASET, status="complete", split="train")
nested = client.images.list(DATASET, directory_path="/day/rain")
seen = []
result = client.datasets.download(
    DATASET, "out", progress=lambda done, total, name: seen.append((done, total))
)
annotated = next(image for image in everything if image.annotation_count and image.directory_path != "/")
by_path = client.annotations.get(DATASET, annotated.filename, directory_path=annotated.directory_path)
by_uuid = client.annotations.get(DATASET, annotated.id)
kinds = sorted({a.type for image in everything for a in client.annotations.get(DATASET, image.id)})
one = client.images.download(DATASET, annotated.id, "one.jpg")
found = client.images.get(DATASET, annotated.filename)
directories = [each.full_path for each in client.directories.list(DATASET)]
tree = [each.full_path for each in client.directories.tree(DATASET)]

created = client.exports.create(DATASET, "v2/β", include_images=True, wait=False)
completed = client.exports.wait_for_completion(DATASET, "v2/β", poll_interval=0.05, timeout=20)
with zipfile.ZipFile(client.exports.download(DATASET, "v2/β", "v2.zip")) as archive:
    members, broken = len(archive.namelist()), archive.testzip()
same = client.exports.get_by_id(created.id).name
client.exports.download_by_id(created.id, "again.zip")
exports = [each.name for each in client.exports.iter(dataset_name=DATASET, page_size=1)]
client.exports.delete(DATASET, "v2/β")
bulk = client.exports.bulk_delete([created.id])

made = client.datasets.create("Écrans & cie", description="new")
renamed = client.datasets.update("Écrans & cie", new_name="Screens").name
client.datasets.archive("Screens")
hidden = (
    [each.name for each in client.datasets.list()],
    [each.name for each in client.datasets.list(archived=True)],
)
client.datasets.unarchive("Screens")
deleted = client.datasets.delete("Screens")
organization = client.organizations.me()

refused = {
    "401": raised(Client("pk_live_wrong", base_url=BASE, max_retries=0).datasets.list),
    "404": raised(lambda: client.datasets.get(DATASET.lower())),
    "409": raised(lambda: client.datasets.create(DATASET)),
    "422": raised(lambda: client.exports.create(DATASET, "no such format", format="dota", wait=False)),
}
mutate("set_role", role="member")
refused["403"] = raised(lambda: client.datasets.delete(DATASET))
mutate("settings", rate_limit=1)
refused["429"] = raised(client.datasets.list)

report(
    names=[each.name for each in listed],
    paged=[each.name for each in paged],
    images=len(whole.images),
    by_id=[image.id for image in by_id.images] == [image.id for image in whole.images[5:10]],
    newest=[image.created_at.isoformat() for image in newest],
    everything=len({image.id for image in everything}),
    filters=[
        {(image.status, image.split) for image in complete} <= {("complete", "train")},
        {image.directory_path for image in nested} == {"/day/rain"},
    ],
    success=result.success,
    failures=[each.reason for each in result.failures],
    truncated=result.truncated,
    images_downloaded=result.images_downloaded,
    annotations_downloaded=result.annotations_downloaded,
    progress=seen[-1],
    annotations=[len(by_path), len(by_uuid), annotated.annotation_count],
    kinds=kinds,
    size_agrees=one.stat().st_size == annotated.file_size,
    found=found.id == annotated.id,
    directories=directories,
    tree=tree,
    created=created.status,
    completed=completed.status,
    members=members,
    broken=broken,
    same=same,
    exports=exports,
    bulk=bulk.not_found == [created.id],
    dataset=[made.name, renamed, deleted["name"]],
    hidden=hidden,
    organization=organization.name,
    refused=refused,
)
