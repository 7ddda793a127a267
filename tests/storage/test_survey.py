import json
import tracemalloc

import pytest

from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.storage.images import open_images
from xaiserve.storage.survey import survey, unchanged


def written(folder, records):
    path = folder / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def records(count):
    return [{"id": f"r{i}", "uri": f"{i % 7}.png", "mask": "m.png"} for i in range(count)]


def test_counts_rows_and_says_what_some_lack(tmp_path):
    rows = [*records(3), {"id": "bare", "uri": "x.png", "contrast": "c.png"}]
    known = survey(open_images(written(tmp_path, rows)))
    assert (known.rows, known.without_truth, known.without_contrast) == (4, "bare", 3)


def test_the_digest_is_of_the_rows_and_not_of_the_format(tmp_path):
    rows = [{"id": "a", "uri": "x.png"}, {"id": "b", "uri": "y.png"}]
    one = survey(open_images(written(tmp_path, rows)))
    (tmp_path / "m.json").write_text(json.dumps(rows, indent=3))
    (tmp_path / "m.csv").write_text("id,uri\na,x.png\nb,y.png\n")
    others = [survey(open_images(str(tmp_path / name))) for name in ("m.json", "m.csv")]
    assert {each.digest for each in others} == {one.digest}
    assert survey(open_images(written(tmp_path, rows[::-1]))).digest != one.digest


def test_an_id_that_two_rows_have_is_told_with_their_numbers(tmp_path):
    rows = [*records(5), {"id": "r1", "uri": "x.png"}]
    with pytest.raises(InvalidInputError, match="id 'r1' names rows 1 and 5; ids must be unique"):
        survey(open_images(written(tmp_path, rows)))


def test_an_input_that_changes_under_a_job_is_told_at_the_end(tmp_path):
    images = open_images(written(tmp_path, records(3)))
    known = survey(images)
    assert [row.row_id for row, _ in unchanged(images, known)] == ["r0", "r1", "r2"]
    written(tmp_path, records(4))
    with pytest.raises(ConflictError, match="have changed since the job began"):
        list(unchanged(images, known))


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_a_manifest_is_walked_through_and_not_held(tmp_path, ending):
    path = tmp_path / f"m.{ending}"
    rows = [{**record, "remark": "x" * 8000} for record in records(1000)]
    match ending:
        case "csv":
            lines = (f"{row['id']},{row['uri']},{row['remark']}" for row in rows)
            path.write_text("id,uri,remark\n" + "\n".join(lines))
        case "json":
            path.write_text(json.dumps(rows))
        case "jsonl":
            path.write_text("\n".join(map(json.dumps, rows)))
    images = open_images(str(path))
    del rows
    tracemalloc.start()
    found = sum(1 for _ in images.rows())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 1000
    assert most < path.stat().st_size // 2
