from xaiserve.metrics.summary import summarise
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.tables import score_rows


def row(method, image, hit, status="ok", **changes):
    scores = {
        "pointing_game": hit,
        "pointing_game_reason": "",
        "pointing_game_chance": 0.25,
        "pointing_game_centre": 0.0,
        "energy": None if hit is None else hit / 2,
        "energy_reason": "",
        "energy_chance": 0.1,
        "energy_centre": 0.0,
        "grid_pointing": hit,
        "grid_pointing_reason": "",
        "grid_pointing_chance": 0.2,
        "grid_pointing_centre": 0.1,
    }
    known = {"method": method, "row_id": image, "target_label": "cat", "status": status}
    return {**scores, **known, **changes}


def test_the_blind_methods_count_once_per_image_however_many_methods_ran():
    rows = [row(method, image, 1.0) for method in ("a", "b") for image in ("1", "2", "3")]
    found = list(score_rows(rows))
    for blind in ("chance", "centre"):
        mine = [each for each in found if each.method == blind]
        assert [each.image_id for each in mine if each.metric == "pointing_game"] == ["1", "2", "3"]


def test_the_blind_methods_count_once_across_batches_of_any_methods():
    rows = [
        row(method, f"{image}", 1.0, status="ok" if image % divisor else "error")
        for method, divisor in (("a", 3), ("b", 2), ("c", 5))
        for image in range(2500)
    ]
    blind = [each.image_id for each in score_rows(rows) if each.method == "chance"]
    expected = [i for i in range(2500) if i % 3 or i % 2 or i % 5]
    assert sorted(map(int, blind[::3])) == expected
    assert len(blind) == 3 * len(expected)


def test_an_image_that_only_one_method_explained_still_has_its_blind_scores():
    rows = [row("a", "1", None, status="error"), row("b", "1", 1.0)]
    table = summarise(score_rows(rows), Keys.root(0, "test"))
    assert {each.method: each.images for each in table.methods} == {
        "a": 1,
        "b": 1,
        "chance": 1,
        "centre": 1,
    }
    assert dict(table.methods[0].nulls) == {"query_failed": 1}


def test_an_image_that_could_not_be_read_is_not_in_the_table():
    unread = row("a", "1", None, status="invalid_image", target_label=None)
    assert list(score_rows([unread])) == []


def test_an_image_whose_class_was_not_found_is_counted_and_hinders_nothing():
    rows = [row("a", "1", 1.0), row("a", "2", 0.0)]
    lost = row("a", "3", None, status="error", target_label=None)
    table = summarise(score_rows([rows[0], lost, rows[1]]), Keys.root(0, "test"))
    method = table.methods[0]
    assert (table.classes, method.images, dict(method.nulls)) == (1, 3, {"query_failed": 1})
    assert method.cells == summarise(score_rows(rows), Keys.root(0, "test")).methods[0].cells


def test_truth_that_the_crop_removed_is_counted_for_the_blind_methods_too():
    gone = {
        "pointing_game_chance": None,
        "pointing_game_centre": None,
        "energy_chance": None,
        "energy_centre": None,
        "pointing_game_reason": "empty_mask",
        "energy_reason": "empty_mask",
        "grid_pointing_chance": None,
        "grid_pointing_centre": None,
        "grid_pointing_reason": "empty_mask",
    }
    found = list(score_rows([row("a", "1", None, **gone)]))
    assert {each.reason for each in found} == {"empty_mask"}
    assert {each.method for each in found} == {"a", "chance", "centre"}
