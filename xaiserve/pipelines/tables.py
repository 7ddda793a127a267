"""From a job's rows to the table of its scores."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final

import numpy as np

from xaiserve.metrics.deletion import InsertionDeletion
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.metrics.sampling import short_key
from xaiserve.metrics.summary import BASELINES, POINTING, Column, ScoreRow, Summary, summarise
from xaiserve.perturb.rng import Keys
from xaiserve.storage.ids import IdSet

POINTING_KIND: Final = "pointing-game"

CURVES: Final = {
    "insertion": Column(InsertionDeletion.insertion.name, "insertion"),
    "deletion": Column(InsertionDeletion.deletion.name, "deletion (less is better)"),
}
"""The table's columns of what ``--scores`` names."""

_COMMON: Final = ("method", "row_id", "target_label", "status")
_POINTING: Final = (
    *("pointing_game", "pointing_game_reason", "pointing_game_chance", "pointing_game_centre"),
    *("energy", "energy_reason", "energy_chance", "energy_centre"),
    *("grid_pointing", "grid_pointing_reason", "grid_pointing_chance", "grid_pointing_centre"),
)
_CURVES: Final = ("insertion", "deletion", "curve_reason", "curve_model_inputs")
_METRICS: Final = {
    "pointing_game": PointingGame.measure.name,
    "energy": EnergyPointingGame.measure.name,
    "grid_pointing": GridPointingGame.measure.name,
}

_AT_ONCE: Final = 1024
"""Rows whose images are looked up at once."""

_Row = Mapping[str, Any]  # a row's columns differ in type


def is_scored(kind: str, scores: Sequence[str]) -> bool:
    """Say whether the rows of a job hold any score."""
    return kind == POINTING_KIND or bool(scores)


def columns_for(kind: str, scores: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of the rows that the table is made from."""
    pointing = _POINTING if kind == POINTING_KIND else ()
    return _COMMON + pointing + (_CURVES if scores else ())


def table_of(rows: Iterable[_Row], kind: str, scores: Sequence[str], seed: int) -> Summary | None:
    """Aggregate the rows of a job; None for one that scores nothing."""
    if not is_scored(kind, scores):
        return None
    pointing = kind == POINTING_KIND
    columns = (*(POINTING if pointing else ()), *(CURVES[name] for name in scores))
    values = score_rows(rows, scores, pointing=pointing)
    return summarise(values, Keys.root(seed, "summary"), columns)


def score_rows(
    rows: Iterable[_Row], scores: Sequence[str] = (), *, pointing: bool = True
) -> Iterator[ScoreRow]:
    """Turn a job's rows into those of the table: pointing scores, and scores asked for by name.

    The blind methods have theirs once per image, from its first row that is ``ok``.
    """
    for row, first in _with_firsts(rows) if pointing else ((row, False) for row in rows):
        for column, metric in _METRICS.items() if pointing else ():
            yield from _scored(row, column, metric, f"{column}_reason")
            if first:
                yield from _blind_rows(row, column, metric)
        for name in scores:
            yield from _scored(row, name, CURVES[name].metric, "curve_reason")


def _with_firsts(rows: Iterable[_Row]) -> Iterator[tuple[_Row, bool]]:
    """Say of each row whether it is the first of its image that is ``ok``.

    Rows of a method, one per image, stand together: what is known of the methods before is looked
    up for many rows at once, and takes 8 bytes per image.
    """
    known = IdSet(np.zeros(0, np.uint64))
    for _, own in groupby(rows, key=itemgetter("method")):
        met = array("Q")
        while batch := list(islice(own, _AT_ONCE)):
            keys = np.array([short_key(row["row_id"]) for row in batch], np.uint64)
            ok = np.array([row["status"] == "ok" for row in batch])
            first = ok & ~known.holds(keys)
            met.extend(keys[first].tolist())
            yield from zip(batch, first.tolist(), strict=True)
        known = IdSet.of(np.concatenate([known.keys, np.array(met, np.uint64)]))


def _scored(row: _Row, column: str, metric: str, reason: str) -> Iterator[ScoreRow]:
    if row["status"] == "invalid_image":  # it has no class, and nothing to score
        return
    yield ScoreRow(
        image_id=row["row_id"],
        class_name=row["target_label"],
        method=row["method"],
        metric=metric,
        value=row[column],
        reason=row[reason] if row["status"] == "ok" else "query_failed",
    )


def _blind_rows(row: _Row, column: str, metric: str) -> Iterator[ScoreRow]:
    for method in BASELINES:
        value = row[f"{column}_{method}"]
        yield ScoreRow(
            image_id=row["row_id"],
            class_name=row["target_label"],
            method=method,
            metric=metric,
            value=value,
            reason="" if value is not None else "empty_mask",
        )
