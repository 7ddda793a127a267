"""The few rows of a job that its page shows: the best and the worst, and those that failed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest, nsmallest
from typing import Final

from xaiserve.pipelines.reading import Row
from xaiserve.report.job import FailedRow
from xaiserve.storage.outcomes import FAILURES

PER_METHOD: Final = 3
"""Best cases, and worst cases, per method."""

LISTED: Final = 50
"""Failed rows on the page."""

Chosen = Mapping[str, Sequence[str]]
"""Row ids per method, in the order in which they are shown."""

_Merit = tuple[float, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Highlights:
    """What one walk through a job's rows has found.

    Parameters
    ----------
    best, worst
        By agreement with the ground truth, or with the model; short lists share no image.
    first
        By id, without regard to any score.
    failures
        The first few of ``failed`` rows.
    score_inputs
        Model inputs of the scores that were asked for by name.
    """

    best: Chosen
    worst: Chosen
    first: Chosen
    failures: tuple[FailedRow, ...]
    failed: int
    score_inputs: int


def highlights_of(rows: Iterable[Row], *, pointing: bool) -> Highlights:
    """Walk through the rows of a job once, and hold those that are shown."""
    column, merit = ("energy", _agreement) if pointing else ("insertion", _faithfulness)
    ranked: dict[str, _Ranking] = {}
    first: dict[str, list[str]] = {}
    failures: list[FailedRow] = []
    failed = score_inputs = 0
    for row in rows:
        score_inputs += row.get("curve_model_inputs") or 0
        if row["status"] in FAILURES:
            failed += 1
            failures += [_failed(row)] if len(failures) < LISTED else []
        elif row["status"] == "ok":
            own = first.setdefault(row["method"], [])
            own[:] = nsmallest(PER_METHOD, [*own, row["row_id"]])
            if row.get(column) is not None:
                ranked.setdefault(row["method"], _Ranking()).add(merit(row))
    return Highlights(
        best={method: each.best() for method, each in ranked.items()},
        worst={method: each.worst() for method, each in ranked.items()},
        first=first,
        failures=tuple(failures),
        failed=failed,
        score_inputs=score_inputs,
    )


def _failed(row: Row) -> FailedRow:
    return FailedRow(name=row["row_id"], method=row["method"], reason=row["error_text"] or "")


def _agreement(row: Row) -> _Merit:
    """Rank by the pointing game, then by energy, then by id."""
    hit = row["pointing_game"]
    return (-1.0 if hit is None else hit, row["energy"], row["row_id"])


def _faithfulness(row: Row) -> _Merit:
    """Rank by insertion less deletion, then by insertion, then by id."""
    return (row["insertion"] - row["deletion"], row["insertion"], row["row_id"])


@dataclass(slots=True)
class _Ranking:
    """Both ends of a ranking; what lies between is counted."""

    rows: int = 0
    top: list[_Merit] = field(default_factory=list)
    bottom: list[_Merit] = field(default_factory=list)

    def add(self, merit: _Merit) -> None:
        self.rows += 1
        self.top = _kept(nlargest, self.top, merit)
        self.bottom = _kept(nsmallest, self.bottom, merit)

    def best(self) -> list[str]:
        """Return the first, at most half of all."""
        return [row_id for _, _, row_id in self.top[: min(PER_METHOD, (self.rows + 1) // 2)]]

    def worst(self) -> list[str]:
        """Return the last, from the last on, that are not among the best."""
        return [row_id for _, _, row_id in self.bottom[: min(PER_METHOD, self.rows // 2)]]


def _kept(
    most: Callable[[int, Iterable[_Merit]], list[_Merit]], found: Sequence[_Merit], merit: _Merit
) -> list[_Merit]:
    return most(PER_METHOD, [*found, merit])
