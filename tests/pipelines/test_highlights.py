"""The few rows of many: against sorting all of them."""

import tracemalloc

import pytest

from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.highlights import LISTED, highlights_of

DRAWN = Keys.root(0, "rows").generator()


def row(number, method="rise", status="ok", **changes):
    known = {
        "method": method,
        "row_id": f"{number:06}",
        "status": status,
        "error_text": None if status == "ok" else "broken",
        "pointing_game": float(DRAWN.integers(2)),
        "energy": float(DRAWN.random()),
        "curve_model_inputs": 2,
    }
    return known | changes


@pytest.mark.parametrize("images", [1, 2, 3, 5, 6, 7, 200])
def test_both_ends_are_those_of_the_whole_ranking_and_share_no_image(images):
    rows = [row(number) for number in range(images)]
    rows.append(row(images, energy=None))
    ranked = sorted(
        rows[:-1],
        key=lambda each: (each["pointing_game"], each["energy"], each["row_id"]),
        reverse=True,
    )
    ids = [each["row_id"] for each in ranked]
    found = highlights_of(rows, pointing=True)
    half = min(3, (images + 1) // 2)
    assert found.best["rise"] == ids[:half]
    assert found.worst["rise"] == ids[half:][-3:][::-1]
    assert found.score_inputs == 2 * len(rows)


def test_failures_are_counted_and_the_first_of_them_told():
    rows = [row(number, status="error") for number in range(LISTED + 5)]
    found = highlights_of([*rows, row(1), row(0, method="lime")], pointing=True)
    assert (found.failed, len(found.failures)) == (LISTED + 5, LISTED)
    assert (found.failures[1].name, found.failures[1].reason) == ("000001", "broken")
    assert found.first == {"rise": ["000001"], "lime": ["000000"]}


def test_no_more_rows_are_held_however_many_there_are():
    def peak(images):
        tracemalloc.start()
        highlights_of((row(number) for number in range(images)), pointing=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(2000) < peak(200) + 20_000  # a row is half a kilobyte
