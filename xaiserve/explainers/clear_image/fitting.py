"""From the rows to the equation: what is forced in, what is offered, and what mends a bad fit."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.explainers.clear_image.equation import Equation, Rows, Selection, predict
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import Regression, SegmentSet, Term
from xaiserve.explainers.clear_image.table import Boundary, Masks

SEPARATED_PENALTY: Final = 1e-3
"""The ridge that a perfectly separated image is fitted with."""

FEWEST_SHOWN: Final = 0.2
"""A term is offered only if it is 1 in more weighted rows than this share of the draws: more than
200 of the published 1000."""

CENTRED: Final = 0.02
CENTRING_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """The equation, and what had to be done for it."""

    equation: Equation
    regression: Regression
    separated: bool


def fit_equation(
    rows: Rows,
    counterfactuals: tuple[SegmentSet, ...],
    p1: float,
    boundary: Boundary,
    options: ClearOptions,
) -> Fitted:
    """Choose the terms, and let the equation pass through the image.

    Raises
    ------
    NoExplanationError
        The rows are perfectly separated, for parity, which has no answer then.
    InvalidInputError
        A segment to include does not exist.
    """
    forced = forced_terms(counterfactuals, rows.masks.shape[1], options)
    offered = offered_terms(rows, forced, options)
    selection = Selection(rows, options, p1, options.penalty)
    equation = selection.run(forced, offered)
    separated = equation is None
    if equation is None:
        if options.mode == "parity":
            raise NoExplanationError(
                "segments predict the probabilities perfectly, and the released code has no answer "
                "then: use mode strict (perfect_separation)"
            )
        # The intercept's, too: it is what grows where every probability is 0, or every one is 1.
        penalty = max(SEPARATED_PENALTY, options.penalty)
        selection = Selection(rows, options, p1, penalty, SEPARATED_PENALTY)
        equation = selection.run(forced, offered)
        if equation is None:
            raise RuntimeError("a penalised regression cannot fail")
    rounds = 0
    if options.mode == "strict" and options.regression == "logistic":
        equation, rounds = _centred(selection, equation, p1, boundary)
    regression = _described(selection, equation, boundary, rounds=rounds)
    return Fitted(equation, regression, separated)


def forced_terms(
    counterfactuals: tuple[SegmentSet, ...], segments: int, options: ClearOptions
) -> list[SegmentSet]:
    """List what must be in: every segment of a counterfactual, so that each can be scored."""
    forced: set[SegmentSet] = set()
    for each in counterfactuals:
        if options.counterfactual_interactions and len(each) == 2:  # noqa: PLR2004
            forced.add(each)
        else:
            forced |= {(segment,) for segment in each}
    named = range(segments) if options.all_segments else map(int, options.include)
    for segment in named:
        if not 0 <= segment < segments:
            raise InvalidInputError(
                f"include names segment {segment}, and this image has 0 to {segments - 1}"
            )
        forced.add((segment,))
    return sorted(forced, key=lambda each: (len(each), each))


def offered_terms(rows: Rows, forced: list[SegmentSet], options: ClearOptions) -> list[SegmentSet]:
    """List the other segments, and products of two on request, that vary enough to be told."""
    segments = range(rows.masks.shape[1])
    offered: list[SegmentSet] = [(segment,) for segment in segments]
    if options.interactions:
        offered += [(one, two) for one in segments for two in segments if one < two]
    least = FEWEST_SHOWN * options.samples
    return [each for each in offered if each not in forced and _varies(rows, each, least)]


def _varies(rows: Rows, term: SegmentSet, least: float) -> bool:
    column = rows.column(term)
    return bool(rows.weights @ column > least) and bool((column == 0).any())


def _centred(
    selection: Selection, equation: Equation, p1: float, boundary: Boundary
) -> tuple[Equation, int]:
    """Double the image's weight until the equation meets its probability and class."""
    rows = selection.rows
    image = rows.masks.all(axis=1)
    weights = rows.weights.copy()
    for turn in range(CENTRING_ROUNDS):
        p = float(predict(equation, rows.masks[image], linear=False)[0])
        sides = boundary.kind != "argmax" and (p >= boundary.value) != (p1 >= boundary.value)
        if abs(p - p1) <= CENTRED and not sides:
            return equation, turn
        weights[image] *= 2
        again = selection.fitted(equation.terms, equation.fit.coefficients, weights)
        if again is None:
            return equation, turn
        equation = again
    return equation, CENTRING_ROUNDS


def _described(
    selection: Selection,
    equation: Equation,
    boundary: Boundary,
    *,
    rounds: int,
) -> Regression:
    rows, options = selection.rows, selection.options
    linear = options.regression == "multiple"
    p = predict(equation, rows.masks, linear=linear)
    same = (p >= boundary.value) == (rows.p >= boundary.value)
    whole: Masks = np.ones((1, rows.masks.shape[1]), dtype=np.bool_)
    own = float(predict(equation, whole, linear=linear)[0])
    return Regression(
        kind=options.regression,
        intercept=equation.intercept,
        terms=tuple(Term(segments=term, weight=w) for term, w in equation.weights.items()),
        score=equation.score,
        score_type=options.score,
        accuracy=float(np.average(same, weights=rows.weights)),
        p=own,
        centering_gap=abs(own - selection.p1),
        ridge=selection.penalty,
        centering_rounds=rounds,
    )
