"""Statistics of maps and sets, against answers known by construction and against decoded rows."""

import math
from dataclasses import dataclass

import duckdb
import numpy as np
import pytest
import torch

from xaiserve.explainers.base import Explanation
from xaiserve.models.frame import Frame
from xaiserve.pipelines import explain
from xaiserve.pipelines.filtering import map_statistics, set_statistics, with_statistics
from xaiserve.pipelines.reading import stored_results
from xaiserve.storage.local import LocalStore
from xaiserve.storage.records import RowFormat
from xaiserve.testing.jobs_here import run_here

OPTIONS = {
    "multirex": {"iterations": "2", "spotlights": "2", "budget": "2"},
    "occlusion": {"cells": "4"},
}


@dataclass(frozen=True)
class Shown:
    """A set of pixels, as methods with sets have them."""

    mask: torch.Tensor
    kind: str = "made up"
    confidence: float = 1.0

    @property
    def area_px(self):
        return int(self.mask.sum())

    @property
    def area_fraction(self):
        return self.area_px / self.mask.numel()


@dataclass(frozen=True)
class Sets:
    explanations: tuple[Shown, ...]
    selected: tuple[int, ...]
    trivial: bool = False


def sets(*pixels, selected):
    """Make sets of those pixels of a picture of 2 by 5."""
    masks = [torch.zeros(10, dtype=torch.bool) for _ in pixels]
    for mask, chosen in zip(masks, pixels, strict=True):
        mask[list(chosen)] = True
    return Sets(tuple(Shown(mask.reshape(2, 5)) for mask in masks), selected)


def test_a_map_of_one_pixel_peaks_there_and_has_no_entropy():
    saliency = torch.zeros(3, 4)
    saliency[1, 2] = 5.0
    found = map_statistics(saliency)
    peak = (found.saliency_peak, found.saliency_peak_row, found.saliency_peak_column)
    assert peak == (5.0, 1, 2)
    assert (found.saliency_positive_fraction, found.saliency_entropy) == (1.0, 0.0)


def test_an_even_map_has_all_entropy_and_points_nowhere():
    found = map_statistics(torch.full((3, 4), 0.25))
    peak = (found.saliency_peak, found.saliency_peak_row, found.saliency_peak_column)
    assert peak == (0.25, None, None)
    assert found.saliency_entropy == pytest.approx(1.0)


def test_entropy_is_that_of_the_positive_mass_over_the_logarithm_of_the_pixels():
    saliency = torch.tensor([[1.0, 3.0], [0.0, -4.0]])
    found = map_statistics(saliency)
    expected = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(4)
    assert found.saliency_entropy == pytest.approx(expected)
    assert found.saliency_positive_fraction == 0.5


def test_of_several_peaks_the_first_counts():
    saliency = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    found = map_statistics(saliency)
    assert (found.saliency_peak_row, found.saliency_peak_column) == (0, 1)


def test_a_map_without_mass_has_no_shares():
    nothing = map_statistics(torch.zeros(2, 2))
    assert (nothing.saliency_positive_fraction, nothing.saliency_entropy) == (None, None)
    against = map_statistics(torch.full((2, 2), -1.0))
    assert (against.saliency_positive_fraction, against.saliency_entropy) == (0.0, None)


def test_a_map_that_is_not_finite_has_no_statistics():
    saliency = torch.ones(2, 2)
    saliency[0, 0] = math.nan
    assert map_statistics(saliency).saliency_peak is None


def test_sets_are_counted_measured_and_compared():
    found = set_statistics(sets((0, 1, 2, 3), (3, 4, 5, 6), (9,), selected=(0, 1)))
    assert (found.sets_found, found.sets_selected) == (3, 2)
    assert found.sets_smallest_fraction == 0.1
    assert found.sets_union_fraction == 0.7
    assert found.sets_largest_dice == 2 * 1 / (4 + 4)


def test_one_set_overlaps_with_none_and_no_set_covers_nothing():
    assert set_statistics(sets((0,), selected=(0,))).sets_largest_dice is None
    nothing = set_statistics(sets(selected=()))
    assert (nothing.sets_found, nothing.sets_selected, nothing.sets_union_fraction) == (0, 0, 0.0)
    assert nothing.sets_smallest_fraction is None


def test_a_map_alone_has_no_columns_about_sets():
    bare = Explanation(image_id="a", explainer="rise", target=0, saliency=torch.ones(2, 3))
    found = with_statistics(bare)
    row_format = RowFormat(type(found), Frame)
    assert "saliency_entropy" in row_format.schema.names
    assert "sets_found" not in row_format.schema.names


@pytest.fixture
def job(manifest, model_folder, tmp_path):
    config = explain.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=("multirex", "occlusion"),
        options=OPTIONS,
        limit=3,
    )
    return run_here(explain.plan(config))


def rows_of(job):
    """Read a job as users of DuckDB do."""
    files = str(job / "method=*" / "*.parquet")
    return duckdb.read_parquet(files, hive_partitioning=True, union_by_name=True)


def test_duckdb_filters_rows_without_decoding_anything(job):
    few = rows_of(job).filter("sets_smallest_fraction < 0.2 AND saliency_entropy < 1")
    found = few.select("row_id, sets_found, sets_union_fraction, saliency_peak_row").fetchall()
    assert found
    store = LocalStore(job)
    expected = []
    for row, result, _ in stored_results(store, "multirex", [f"image-{i}" for i in range(6)]):
        areas = [float(each.mask.float().mean()) for each in result.explanations]
        union = np.any([result.explanations[i].mask.numpy() for i in result.selected], axis=0)
        if min(areas, default=1.0) < 0.2:
            peak = int(result.saliency.argmax()) // result.saliency.shape[1]
            expected.append((row.row_id, len(areas), pytest.approx(union.mean()), peak))
    assert sorted(found) == expected


def test_every_row_that_is_ok_has_statistics(job):
    nothing = "saliency_peak IS NULL OR saliency_entropy IS NULL OR saliency_peak_row IS NULL"
    assert rows_of(job).filter("status = 'ok'").filter(nothing).fetchall() == []
