"""Scores that the model is asked for about each explanation: insertion and deletion."""

import dataclasses
from dataclasses import dataclass, make_dataclass
from functools import cache
from typing import Any, get_type_hints

from xaiserve.explainers.base import Explanation
from xaiserve.metrics.deletion import FaithfulnessCurves, InsertionDeletion
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.ticket import Ticket


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CurveScores:
    """Columns that scores add to a row; both values are there whichever a job names.

    Parameters
    ----------
    insertion, deletion
        Areas under the curves of `InsertionDeletion`; none where there is a reason.
    curve_steps
        Steps of each curve; 0 where there is a reason.
    curve_model_inputs
        Rows that the model scored for them, which are none of the explanation's.
    """

    insertion: float | None
    deletion: float | None
    curve_reason: str
    curve_steps: int
    curve_model_inputs: int


@dataclass(frozen=True, slots=True)
class Scorer:
    """Asks about explanations on the engine that found them."""

    engine: Engine
    seed: int = 0

    def ask(self, case: Case, explanation: Explanation) -> Ticket[FaithfulnessCurves]:
        """Start the metric; pixels that tie come in the same order for every method."""
        metric = InsertionDeletion()
        keys = Keys.root(self.seed, case.image_id).child("insertion and deletion")
        return self.engine.submit(
            metric.plan(case, explanation.saliency, keys),
            about=f"the scores of {case.name}",
            bytes_in_flight=metric.bytes_in_flight(case),
        )


def with_curves(result: Explanation, asked: Ticket[FaithfulnessCurves]) -> Explanation:
    """Add the columns of an answered question to a result."""
    curves = asked.result()
    columns = CurveScores(
        insertion=curves.insertion_auc.value,
        deletion=curves.deletion_auc.value,
        curve_reason=curves.reason,
        curve_steps=max(0, len(curves.insertion) - 1),
        curve_model_inputs=asked.cost.model_inputs,
    )
    kind = with_columns(type(result), CurveScores)
    found: Explanation = kind(**values_of(result), **values_of(columns))
    return found


def with_columns(owner: type[Explanation], columns: type) -> type[Explanation]:
    """Return an explanation's dataclass with the fields of another dataclass added."""
    keys: Any = (owner, columns)  # mypy takes a class to be unhashable because its instances are
    found: type[Explanation] = _with_columns(*keys)
    return found


@cache
def _with_columns(owner: Any, columns: Any) -> Any:
    hints = get_type_hints(columns)
    return make_dataclass(
        f"{owner.__name__}With{columns.__name__}",
        [(each.name, hints[each.name]) for each in dataclasses.fields(columns)],
        bases=(owner,),
        frozen=True,
        slots=True,
        eq=False,
        kw_only=True,
    )


def values_of(instance: Any) -> dict[str, Any]:  # Any: a dataclass
    """Return the fields of a dataclass and their values."""
    return {each.name: getattr(instance, each.name) for each in dataclasses.fields(instance)}
