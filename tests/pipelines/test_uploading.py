from xaiserve.pipelines.uploading import upload
from xaiserve.storage.images import expand
from xaiserve.storage.local import LocalStore


def test_files_go_up_once_by_digest_and_the_rows_stay_the_same(manifest, tmp_path):
    for index in (4, 5):
        picture = (manifest.parent / "003.png").read_bytes()
        (manifest.parent / f"{index:03d}.png").write_bytes(picture)
    rows = expand(str(manifest))
    store = LocalStore(tmp_path / "out")
    there = expand(upload(rows, store))
    assert [(row.row_id, row.target) for row in there] == [(row.row_id, row.target) for row in rows]
    assert len(store.list("_uploads/")) == 4 + 6 + 1  # pictures, masks and the manifest
    assert store.read(there[4].uri.removeprefix(f"{store.uri}/")) == picture
    assert upload(rows, store) == upload(rows, store)
