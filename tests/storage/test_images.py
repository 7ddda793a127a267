"""COCO annotations, folders of classes and boxes become rows."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from xaiserve.errors import InvalidInputError
from xaiserve.storage.images import expand, open_images
from xaiserve.storage.outlines import boxes_to_mask, outlines_to_mask
from xaiserve.storage.survey import survey

SQUARE = [[2, 1, 5, 1, 5, 4, 2, 4]]
COCO = {
    "annotations": [
        {"image_id": 7, "category_id": 2, "bbox": [2, 1, 3, 3], "segmentation": SQUARE},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 2, 2], "segmentation": SQUARE},
        {"image_id": 7, "category_id": 2, "bbox": [6, 6, 1, 1], "segmentation": SQUARE},
        {"image_id": 7, "category_id": 1, "bbox": [0.5, 0, 1, 1]},
    ],
    "images": [
        {"id": 3, "file_name": "c.jpg"},
        {"id": 7, "file_name": "g.jpg"},
        {"id": 9, "file_name": "empty.jpg"},
    ],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
}


def written(folder, document, name="instances.json"):
    path = folder / name
    path.write_text(json.dumps(document))
    return str(path)


def test_coco_annotations_are_a_row_per_image_and_category(tmp_path):
    rows = expand(written(tmp_path, COCO), root="/pictures")
    assert [(row.row_id, row.uri, row.target) for row in rows] == [
        ("3/cat", "/pictures/c.jpg", "cat"),
        ("7/cat", "/pictures/g.jpg", "cat"),
        ("7/dog", "/pictures/g.jpg", "dog"),
    ]
    assert rows[2].boxes == ((2, 1, 3, 3), (6, 6, 1, 1))
    assert json.loads(rows[2].outlines) == [SQUARE, SQUARE]
    assert rows[1].outlines is None  # one of its instances has none, so that its box is the truth
    assert all(row.has_truth for row in rows)
    assert expand(written(tmp_path, COCO))[0].uri == f"{tmp_path}/c.jpg"


def test_coco_annotations_are_walked_through_again_and_limited(tmp_path):
    images = open_images(written(tmp_path, COCO), limit=2)
    assert [row.row_id for row in images.rows()] == [row.row_id for row in images.rows()]
    assert sum(1 for _ in images.rows()) == 2


@pytest.mark.parametrize(
    "document",
    [
        {"uri": "x.png"},
        {**COCO, "annotations": []},
        {**COCO, "annotations": [{"image_id": 7}]},
    ],
)
def test_an_object_that_is_no_coco_is_told_in_a_sentence(tmp_path, document):
    with pytest.raises(InvalidInputError, match="or COCO annotations with images, annotations and"):
        expand(written(tmp_path, document))


def test_coco_ids_may_be_quoted_in_some_places(tmp_path):
    quoted = [{**each, "image_id": str(each["image_id"])} for each in COCO["annotations"]]
    rows = expand(written(tmp_path, {**COCO, "annotations": quoted}))
    assert rows == expand(written(tmp_path, COCO))


@pytest.mark.parametrize(
    ("column", "unknown", "said"),
    [
        ("image_id", 99, "list the image of every annotation, and images lacks 1, such as 99"),
        (
            "category_id",
            "x",
            "the category of every annotation, and categories lacks 1, such as 'x",
        ),
        ("category_id", None, "the category of every annotation, and categories lacks 1"),
    ],
)
def test_a_coco_annotation_of_what_is_not_listed_is_told(tmp_path, column, unknown, said):
    lost = {**COCO["annotations"][0], column: unknown}
    document = {**COCO, "annotations": [*COCO["annotations"], lost]}
    with pytest.raises(InvalidInputError, match=said):
        expand(written(tmp_path, document))


@pytest.mark.parametrize("quoted", ["12345678901234567890", "-7", "007", "1" * 5000])
def test_a_coco_id_may_be_any_text(tmp_path, quoted):
    images = [{"id": quoted, "file_name": "c.jpg"}]
    annotations = [{**COCO["annotations"][0], "image_id": quoted}]
    (row,) = expand(written(tmp_path, {**COCO, "images": images, "annotations": annotations}))
    assert (row.row_id, row.target) == (f"{quoted}/dog", "dog")


def test_negative_coco_ids_may_be_quoted_in_some_places(tmp_path):
    images = [{"id": -7, "file_name": "c.jpg"}]
    annotations = [{**COCO["annotations"][0], "image_id": "-7"}]
    (row,) = expand(written(tmp_path, {**COCO, "images": images, "annotations": annotations}))
    assert row.row_id == "-7/dog"


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        ("images", {"id": [3], "file_name": "c.jpg"}, r"id must be a number or text, got \[3\]"),
        ("images", {"id": 3, "file_name": None}, "file_name must be text, got None"),
        ("images", {"id": 3, "file_name": ["c.jpg"]}, "file_name must be text, got "),
        ("categories", {"id": 3, "name": 3}, "name must be text, got 3"),
        ("categories", {"id": 3, "name": None}, "name must be text, got None"),
    ],
)
def test_a_coco_id_or_name_of_another_kind_is_told(tmp_path, kind, wrong, said):
    with pytest.raises(InvalidInputError, match=f"or COCO annotations with images, .*: {said}"):
        expand(written(tmp_path, {**COCO, kind: [*COCO[kind], wrong]}))


@pytest.mark.parametrize(
    ("kind", "other", "said"),
    [
        ("images", {"id": "7", "file_name": "h.jpg"}, "every image under .*, and images has .* 7;"),
        ("categories", {"id": 2, "name": "fox"}, "every category .*, and categories has .* 2;"),
    ],
)
def test_a_coco_id_of_two_is_told(tmp_path, kind, other, said):
    with pytest.raises(InvalidInputError, match=said):
        expand(written(tmp_path, {**COCO, kind: [*COCO[kind], other]}))
    same = {**COCO, kind: COCO[kind] * 2}  # as merged files have them
    assert expand(written(tmp_path, same)) == expand(written(tmp_path, COCO))


def test_a_coco_box_without_area_is_a_row_whose_region_is_empty(tmp_path):
    flat = {"image_id": 3, "category_id": 2, "bbox": [1, 1.5, 4, 0], "segmentation": SQUARE}
    bare = {"image_id": 9, "category_id": 2, "bbox": [1, 1.5, 0, 4]}
    document = {**COCO, "annotations": [flat, bare]}
    outlined, boxed = expand(written(tmp_path, document))
    assert json.loads(outlined.outlines) == [SQUARE]
    assert boxed.has_truth
    assert not boxes_to_mask([*outlined.boxes, *boxed.boxes], 8, 8).any()


@pytest.mark.parametrize("wrong", [None, 5, "wide", [1, 2, 3], [1, 2, -3, 4], [1, 2, [3], 4]])
def test_a_coco_box_that_is_none_is_told_in_a_sentence(tmp_path, wrong):
    document = {**COCO, "annotations": [{"image_id": 7, "category_id": 2, "bbox": wrong}]}
    with pytest.raises(
        InvalidInputError, match=r"image 7: boxes must list \[x, y, width, height\]"
    ):
        expand(written(tmp_path, document))


def test_the_name_of_a_folder_is_the_label_of_its_pictures(tmp_path):
    for name in ("cat/1.png", "dog/deep/2.png", "dog/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    rows = expand(str(tmp_path), folder_labels=True)
    assert [(row.row_id, row.target) for row in rows] == [
        ("cat/1.png", "cat"),
        ("dog/3.png", "dog"),
        ("dog/deep/2.png", "deep"),
    ]
    assert {row.target for row in expand(str(tmp_path))} == {None}
    Image.new("L", (4, 4)).save(tmp_path / "4.png")
    with pytest.raises(InvalidInputError, match=r"4\.png lies in none; move it into a folder"):
        expand(str(tmp_path), folder_labels=True)


def test_a_name_that_is_no_text_is_told(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(InvalidInputError, match=r"caf\\udce9\.png' with .*; rename the file"):
        survey(open_images(str(tmp_path)))


@pytest.mark.parametrize("column", ["id", "uri", "label", "mask", "outlines", "contrast"])
def test_half_a_surrogate_in_a_manifest_is_told(tmp_path, column):
    row = {"uri": "x.png", column: "a\ud800"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    with pytest.raises(InvalidInputError, match=r"ud800.*; rename the file, or mend"):
        expand(str(tmp_path / "m.jsonl"))


@pytest.mark.parametrize(
    ("name", "document"),
    [("m.json", [{"uri": "x.png"}]), ("m.jsonl", {"uri": "x.png"}), ("coco.json", COCO)],
)
def test_a_byte_order_mark_changes_nothing(tmp_path, name, document):
    plain = expand(written(tmp_path, document, name))
    (tmp_path / name).write_text(json.dumps(document), "utf-8-sig")
    assert expand(str(tmp_path / name)) == plain


def test_blanks_beside_the_commas_of_a_csv_are_no_part_of_its_cells(tmp_path):
    (tmp_path / "m.csv").write_text('uri , label, boxes\na.png, cat, "[[1, 2, 3, 4]]"\nb.png\n\n')
    first, second = expand(str(tmp_path / "m.csv"))
    assert (first.uri, first.target, first.boxes) == (f"{tmp_path}/a.png", "cat", ((1, 2, 3, 4),))
    assert (second.uri, second.target, second.boxes) == (f"{tmp_path}/b.png", None, ())


def test_a_csv_line_with_more_cells_than_its_header_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text(
        'uri,label\na.png,"cat, tabby"\nb.png,cat,,\nc.png,cat, tabby\n'
    )
    with pytest.raises(InvalidInputError, match="line 4 has 3 cells and the header 2; put a cell"):
        expand(str(tmp_path / "m.csv"))
    assert expand(str(tmp_path / "m.csv"), limit=2)[0].target == "cat, tabby"


def test_options_that_do_not_go_with_the_input_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="folder_labels goes with a folder"):
        expand(written(tmp_path, COCO), folder_labels=True)
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match="images_root goes with a manifest"):
        expand(str(tmp_path / "x.png"), root="/elsewhere")


def test_a_manifest_names_boxes_and_a_root(tmp_path):
    (tmp_path / "m.csv").write_text('uri,boxes\nx.png,"[[1, 2, 3, 4.5]]"\ny.png,\n')
    rows = expand(str(tmp_path / "m.csv"), root="s3://bucket/pictures/")
    assert [row.uri for row in rows] == ["s3://bucket/pictures/x.png", "s3://bucket/pictures/y.png"]
    assert [row.boxes for row in rows] == [((1, 2, 3, 4.5),), ()]
    assert [row.has_truth for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("[[1, 2, 3]]", "[1.0, 2.0, 3.0]"),
        ("[[1, 2, 0, 4]]", "[1.0, 2.0, 0.0, 4.0]"),
        ("[1, 2, 3, 4]", "'[1, 2, 3, 4]'"),
        ("[[1, 2, 3", "'[[1, 2, 3'"),
        (7, "7"),
        (f"[[1, 2, 3, {10**400}]]", f"'[[1, 2, 3, {10**400}]]'"),
    ],
)
def test_boxes_without_an_area_are_refused_and_named(tmp_path, wrong, named):
    written(tmp_path, [{"uri": "x.png", "boxes": wrong}], "m.json")
    with pytest.raises(InvalidInputError) as caught:
        expand(str(tmp_path / "m.json"))
    assert "row 0: boxes must list [x, y, width, height]" in str(caught.value)
    assert str(caught.value).endswith(f"got {named}")


def test_a_manifest_lists_outlines_or_holds_their_text(tmp_path):
    outlines = [{"size": [6, 8], "counts": "=33000a0"}, SQUARE]
    lines = [{"uri": "x.png", "outlines": each} for each in (outlines, json.dumps(outlines), [])]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    listed, as_text, nothing = expand(str(tmp_path / "m.jsonl"))
    assert listed.outlines == as_text.outlines == json.dumps(outlines)
    assert not nothing.has_truth


def test_outlines_that_are_no_json_are_told(tmp_path):
    rows = [{"uri": "x.png", "outlines": [{"size": [6, 8], "counts": b"=33000a0"}]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    with pytest.raises(InvalidInputError, match="row 0: outlines must list COCO segmentations"):
        expand(str(tmp_path / "m.parquet"))


def test_boxes_fill_every_pixel_that_they_touch():
    mask = boxes_to_mask([(1.5, 0, 1, 2), (3, 3, 9, 1)], 4, 5)
    assert np.argwhere(mask).tolist() == [[0, 1], [0, 2], [1, 1], [1, 2], [3, 3], [3, 4]]


def test_polygons_and_both_kinds_of_run_lengths_fill_the_same_pixels():
    square = np.zeros((6, 8), np.bool_)
    square[1:4, 2:5] = True
    runs = {"size": [6, 8], "counts": [13, 3, 3, 3, 3, 3, 20]}  # down the columns, zeros first
    for segmentation in (SQUARE, runs, {"size": [6, 8], "counts": "=33000a0"}):
        found = outlines_to_mask(json.dumps([segmentation]), 6, 8)
        assert np.array_equal(found, square), segmentation


@pytest.mark.parametrize(
    "wrong",
    [
        *("nonsense", '[{"size": [9, 9], "counts": [81]}]', "[[]]", "[3]"),
        *("[[[1, 2]]]", "[[[]]]", "[[[1, 2, 3, 4]]]", "[[[2, 1, 5, 1, 5, 4, 2]]]"),
        *("[[[2, 1, 5, 1, 5, NaN]]]", "[[[1e30, 1, 5, 1, 5, 4]]]"),
        '[{"size": [6, 8], "counts": [-5, 53]}]',
    ],
)
def test_outlines_of_another_size_or_kind_are_refused(wrong):
    with pytest.raises(InvalidInputError, match="outlines must be a JSON list of COCO"):
        outlines_to_mask(wrong, 6, 8)
