import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError
from xaiserve.storage.images import expand
from xaiserve.storage.manifest import ImageRow, beside

RECORDS = [
    {"id": "a", "uri": "x.png", "label": 3, "mask": "m.png", "contrast": "c.png"},
    {"id": "b", "uri": "y.png"},
]


def picture(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4)).save(path)
    return str(path)


def written(folder: Path, ending: str) -> str:
    path = folder / f"manifest{ending}"
    match ending:
        case ".csv":
            path.write_text("id,uri,label,mask,contrast\na,x.png,3,m.png,c.png\nb,y.png,,,\n")
        case ".json":
            path.write_text(json.dumps(RECORDS))
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, RECORDS)) + "\n")
        case ".parquet":
            pd.DataFrame(RECORDS).to_parquet(path)
    return str(path)


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".parquet"])
def test_reads_every_kind_of_manifest_alike(tmp_path, ending):
    assert expand(written(tmp_path, ending)) == (
        ImageRow(
            row_id="a",
            uri=f"{tmp_path}/x.png",
            target="3",
            mask=f"{tmp_path}/m.png",
            contrast=f"{tmp_path}/c.png",
        ),
        ImageRow(row_id="b", uri=f"{tmp_path}/y.png"),
    )


def test_keeps_two_rows_of_one_file_apart(tmp_path):
    (tmp_path / "m.csv").write_text("uri\nx.png\nx.png\n")
    rows = expand(str(tmp_path / "m.csv"))
    assert [row.row_id for row in rows] == ["000000", "000001"]
    assert rows[0].uri == rows[1].uri


def test_leaves_addresses_as_they_are(tmp_path):
    (tmp_path / "m.csv").write_text("uri\ns3://bucket/x.png\n/y.png\n")
    assert [row.uri for row in expand(str(tmp_path / "m.csv"))] == ["s3://bucket/x.png", "/y.png"]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("./x.png", "s3://b/lists/x.png"),
        ("../pictures/x.png", "s3://b/pictures/x.png"),
        ("a//x.png", "s3://b/lists/a//x.png"),
        (".x.png", "s3://b/lists/.x.png"),
    ],
)
def test_dots_before_a_path_mean_in_a_bucket_what_they_mean_in_a_folder(uri, found):
    assert beside("s3://b/lists/m.csv", uri) == found
    assert beside("/elsewhere/m.csv", uri, root="s3://b/lists/") == found


def test_dots_that_lead_out_of_a_bucket_are_refused():
    with pytest.raises(InvalidInputError, match="leads out of the bucket of s3://b/lists"):
        beside("s3://b/lists/m.csv", "../../x.png")


def test_lists_the_pictures_of_a_folder_by_their_path_in_it(tmp_path):
    picture(tmp_path / "b.png")
    picture(tmp_path / "deep" / "a.JPG")
    (tmp_path / "notes.txt").write_text("no picture")
    rows = expand(str(tmp_path))
    assert [row.row_id for row in rows] == ["b.png", "deep/a.JPG"]
    assert rows[1].uri == f"{tmp_path}/deep/a.JPG"


def test_takes_a_single_picture(tmp_path):
    uri = picture(tmp_path / "one.png")
    assert expand(uri) == (ImageRow(row_id="one.png", uri=uri),)


def test_takes_only_the_first_rows_when_limited(tmp_path):
    assert [row.row_id for row in expand(written(tmp_path, ".csv"), limit=1)] == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.csv", "id,uri\na,x.png\na,y.png\n", "id 'a' names rows 0 and 1"),
        ("m.csv", "file\nx.png\n", "row 0 has no column 'uri' or 'image' or 'path'"),
        ("m.csv", "uri\n", "lists no image"),
        ("m.json", "{", "cannot be read"),
        ("m.json", '{"uri": "x.png"}', "must be a list of objects"),
        ("m.parquet", "no parquet", "cannot be read"),
    ],
)
def test_says_what_is_wrong_with_a_manifest(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInputError, match=said):
        expand(str(tmp_path / name))


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
def test_reads_the_squares_and_the_masks_of_features(tmp_path, ending):
    path = tmp_path / f"m.{ending}"
    squares, masks = [[24], [3, 4, 10]], ["a.png", "b.png"]
    match ending:
        case "csv":
            first = 'x.png,"[[24],[3,4,10]]",a.png;b.png'
            path.write_text(f"uri,feature_squares,feature_mask_uris\n{first}\ny.png,,\n")
        case "json":
            told = {"uri": "x.png", "feature_squares": squares, "feature_masks": masks}
            path.write_text(json.dumps([told, {"uri": "y.png"}]))
        case "parquet":
            frame = {"uri": ["x.png", "y.png"], "feature_squares": [squares, None]}
            pd.DataFrame(frame | {"feature_masks": [masks, None]}).to_parquet(path)
    first, second = expand(str(path))
    assert first.feature_squares == ((24,), (3, 4, 10))
    assert first.feature_masks == (f"{tmp_path}/a.png", f"{tmp_path}/b.png")
    assert (second.feature_squares, second.feature_masks) == ((), ())


@pytest.mark.parametrize("squares", ["[[]]", "[[49]]", "[3]", "square", "[[-1]]", '{"a": 1}'])
def test_refuses_features_that_are_no_squares(tmp_path, squares):
    told = {"uri": "x.png", "feature_squares": squares}
    (tmp_path / "m.json").write_text(json.dumps([told]))
    with pytest.raises(InvalidInputError, match="row 0: feature_squares must list, per feature"):
        expand(str(tmp_path / "m.json"))


def test_says_that_nothing_is_there(tmp_path):
    with pytest.raises(ArtifactNotFoundError, match="does not exist"):
        expand(str(tmp_path / "nothing"))
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(InvalidInputError, match="must name a folder with pictures"):
        expand(str(tmp_path))
