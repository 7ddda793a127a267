"""From a job's rows to the table of its scores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from xaiserve.metrics.deletion import InsertionDeletion
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.metrics.summary import BASELINES, POINTING, Column, ScoreRow, Summary, summarise
from xaiserve.perturb.rng import Keys

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

_Row = Mapping[str, Any]  # a row's columns differ in type


def is_scored(kind: str, scores: Sequence[str]) -> bool:
    """Say whether the rows of a job hold any score."""
    return kind == POINTING_KIND or bool(scores)


def columns_for(kind: str, scores: Sequence[str]) -> tuple[str, ...]:
    """Name the columns of the rows that the table is made from."""
    pointing = _POINTING if kind == POINTING_KIND else ()
    return _COMMON + pointing + (_CURVES if scores else ())


def table_of(rows: Sequence[_Row], kind: str, scores: Sequence[str], seed: int) -> Summary | None:
    """Aggregate the rows of a job; None for one that scores nothing."""
    if not is_scored(kind, scores):
        return None
    pointing = kind == POINTING_KIND
    columns = (*(POINTING if pointing else ()), *(CURVES[name] for name in scores))
    values = chain(pointing_rows(rows) if pointing else (), curve_rows(rows, scores))
    return summarise(values, Keys.root(seed, "summary"), columns)


def pointing_rows(rows: Iterable[_Row]) -> Iterator[ScoreRow]:
    """Turn a job's rows into pointing scores, those of the blind methods once per image."""
    blind = set()
    for row in rows:
        for column, metric in _METRICS.items():
            yield from _scored(row, column, metric, f"{column}_reason")
            if row["status"] == "ok" and (row["row_id"], metric) not in blind:
                blind.add((row["row_id"], metric))
                yield from _blind_rows(row, column, metric)


def curve_rows(rows: Iterable[_Row], scores: Sequence[str]) -> Iterator[ScoreRow]:
    """Turn a job's rows into the scores that it was asked for by name."""
    for row in rows:
        for name in scores:
            yield from _scored(row, name, CURVES[name].metric, "curve_reason")


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
