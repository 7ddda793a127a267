"""Columns that a job adds to every row, so that rows are chosen without decoding maps and masks.

They are plain numbers, of which Parquet keeps the least and the largest per row group: a reader
skips what cannot fit.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaiserve.explainers.base import Explanation, WithSets
from xaiserve.explainers.multirex.family import dice_matrix
from xaiserve.pipelines.scoring import values_of, with_columns
from xaiserve.types import Saliency


@dataclass(frozen=True, slots=True, kw_only=True)
class MapStatistics:
    """What a map ``s`` (h, w) looks like; none of it for a map that is not finite.

    Parameters
    ----------
    saliency_peak
        ``max s``.
    saliency_peak_row, saliency_peak_column
        The pixel that has it, in the model's input; of several the first, row by row. None for a
        constant map, which points nowhere.
    saliency_positive_fraction
        ``sum max(s, 0) / sum |s|``, from 0 to 1; None for a map of zeros.
    saliency_entropy
        ``- sum p log p / log(h w)`` with ``p = max(s, 0) / sum max(s, 0)``: 0 for a single pixel, 1
        for an even map. None for a map without positive values, and for one of a single pixel.
    """

    saliency_peak: float | None = None
    saliency_peak_row: int | None = None
    saliency_peak_column: int | None = None
    saliency_positive_fraction: float | None = None
    saliency_entropy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStatistics:
    """What the sets of a method that finds several are like.

    Parameters
    ----------
    sets_found, sets_selected
        How many there are in ``explanations``, and in ``selected``.
    sets_smallest_fraction
        Pixels of the smallest set found over those of the picture; None where none was found.
    sets_union_fraction
        Pixels in any of the selected sets over those of the picture; 0 where none is selected.
    sets_largest_dice
        Largest ``2 |A & B| / (|A| + |B|)`` of two selected sets: 0 where none share a pixel. None
        where fewer than two are selected.
    """

    sets_found: int
    sets_selected: int
    sets_smallest_fraction: float | None
    sets_union_fraction: float
    sets_largest_dice: float | None


def filterable(owner: type[Explanation]) -> type[Explanation]:
    """Return the explanation's dataclass with the columns of its statistics added."""
    found = with_columns(owner, MapStatistics)
    return with_columns(found, SetStatistics) if has_sets(owner) else found


def has_sets(owner: type[Explanation]) -> bool:
    """Say whether explanations of a kind are several sets, and which of them are selected."""
    return {"explanations", "selected"} <= {field.name for field in dataclasses.fields(owner)}


def with_statistics(result: Explanation) -> Explanation:
    """Add its statistics to an explanation."""
    columns = values_of(map_statistics(result.saliency))
    sets: Any = result  # Any: a method's own class, which the protocol describes
    if has_sets(type(result)):
        columns |= values_of(set_statistics(sets))
    found: Explanation = filterable(type(result))(**values_of(result), **columns)
    return found


def map_statistics(saliency: Saliency) -> MapStatistics:
    """Describe one map."""
    values = saliency.detach().cpu().numpy().astype(np.float64)
    if not np.isfinite(values).all():
        return MapStatistics()
    row, column = divmod(int(values.argmax()), values.shape[1])
    flat = bool(values.min() == values.max())
    mass = np.maximum(values, 0.0)
    total = float(np.abs(values).sum())
    return MapStatistics(
        saliency_peak=float(values[row, column]),
        saliency_peak_row=None if flat else row,
        saliency_peak_column=None if flat else column,
        saliency_positive_fraction=float(mass.sum()) / total if total else None,
        saliency_entropy=_entropy(mass),
    )


def _entropy(mass: NDArray[np.float64]) -> float | None:
    total = mass.sum()
    if total == 0 or mass.size == 1:
        return None
    share = mass[mass > 0] / total
    # Of an even map the sum may exceed the logarithm by its rounding.
    return min(max(float(-(share * np.log(share)).sum() / np.log(mass.size)), 0.0), 1.0)


def set_statistics(result: WithSets) -> SetStatistics:
    """Describe the sets of one explanation."""
    areas = [each.area_fraction for each in result.explanations]
    masks = [result.explanations[place].mask.cpu() for place in result.selected]
    several = len(masks) > 1
    return SetStatistics(
        sets_found=len(areas),
        sets_selected=len(masks),
        sets_smallest_fraction=min(areas, default=None),
        sets_union_fraction=float(np.any([mask.numpy() for mask in masks], axis=0).mean()),
        sets_largest_dice=float(dice_matrix(masks).triu(diagonal=1).max()) if several else None,
    )
