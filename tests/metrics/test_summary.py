"""The table of scores, from rows whose every figure can be checked by head."""

import pytest

from xaiserve.metrics.estimates import HitRate
from xaiserve.metrics.summary import POINTING, ScoreRow, render_table, summarise
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "a job")


def row(method, image, metric, value, *, class_name="cat", reason=""):
    return ScoreRow(
        image_id=image,
        class_name=class_name,
        method=method,
        metric=metric,
        value=value,
        reason=reason,
    )


def rows():
    found = []
    for method, hits in (("chance", 0.25), ("rise", 1.0), ("centre", 0.0), ("occlusion", 1.0)):
        for image in ("a", "b", "c"):
            found.append(row(method, image, "pointing_game", hits))
            found.append(row(method, image, "energy_pointing_game", 0.5))
            found.append(row(method, image, "grid_pointing", 0.25))
    return found


def test_methods_come_before_baselines():
    summary = summarise(rows(), KEYS)
    assert [line.method for line in summary.methods] == ["occlusion", "rise", "centre", "chance"]


def test_cells_hold_the_estimates_of_their_metric():
    rise = summarise(rows(), KEYS).methods[1]
    assert rise.images == 3
    assert rise.cells[0].micro == HitRate(3, 3).estimate()
    assert rise.cells[1].micro.value == 0.5


def test_rows_in_any_order_give_the_same_summary():
    assert summarise(rows(), KEYS) == summarise(reversed(rows()), KEYS)


def test_an_image_that_failed_is_counted_once_per_reason():
    failed = [
        row("rise", "d", "pointing_game", None, reason="query_failed"),
        row("rise", "d", "energy_pointing_game", None, reason="query_failed"),
        row("rise", "e", "energy_pointing_game", None, reason="zero_map"),
    ]
    rise = summarise(rows() + failed, KEYS).methods[1]
    assert rise.images == 5
    assert rise.nulls == (("query_failed", 1), ("zero_map", 1))


def test_metrics_without_a_column_are_left_out():
    other = row("lime", "a", "insertion_auc", 0.5)
    assert summarise([*rows(), other], KEYS) == summarise(rows(), KEYS)


def test_the_table_is_aligned():
    found = [each for each in rows() if each.metric != "energy_pointing_game"]
    lines = render_table(summarise(found, KEYS, (POINTING[0], POINTING[2]))).splitlines()
    assert lines == [
        "method     images  hit rate              grid                  not scored",
        "occlusion  3       1.000 [0.439, 1.000]  0.250 [0.250, 0.250]  0",
        "rise       3       1.000 [0.439, 1.000]  0.250 [0.250, 0.250]  0",
        "centre     3       0.000 [0.000, 0.561]  0.250 [0.250, 0.250]  0",
        "chance     3       0.250 [0.250, 0.250]  0.250 [0.250, 0.250]  0",
    ]


def test_the_table_says_what_could_not_be_scored():
    found = [
        row("rise", "a", "pointing_game", 0.5),
        row("rise", "a", "energy_pointing_game", None, reason="zero_map"),
    ]
    assert render_table(summarise(found, KEYS)).splitlines()[1].split() == [
        *("rise", "1", "0.500", "-", "-", "1", "zero_map")
    ]


def test_several_classes_get_columns_of_their_own():
    dog = row("rise", "d", "pointing_game", 0.0, class_name="dog")
    head, _, rise, *_ = render_table(summarise([*rows(), dog], KEYS)).splitlines()
    assert "hit rate by class" in head
    assert rise.split()[2] == "0.750"
    assert rise.split("]")[1].split()[0] == "0.500"


def test_no_rows_give_a_table_of_headings():
    assert render_table(summarise([], KEYS)) == (
        "method  images  hit rate  energy  grid  not scored"
    )


@pytest.mark.parametrize("images", [1, 2])
def test_an_interval_needs_two_images_unless_it_is_wilsons(images):
    found = [row("rise", str(i), "energy_pointing_game", 0.5) for i in range(images)]
    assert ("[" in render_table(summarise(found, KEYS))) == (images > 1)
