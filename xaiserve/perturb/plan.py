"""`QueryPlan`: how an algorithm asks, as a generator that yields queries and is sent scores.

A plan never sees a model, a network, a clock or a progress bar. Only `step` and `stop` touch the
generator protocol; everything that answers plans is built on them.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch

from xaiserve.models.spec import Rule
from xaiserve.perturb.query import Query, join, leaves, select
from xaiserve.types import Margins, Scores

T = TypeVar("T")

EPSILON = 1e-4
"""A margin below this is asked again alone: batch size and thread count move scores by 3e-6 to 1e-5
(measured), and a decision must not depend on company."""


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something a plan tells while it runs; needs no answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Progress(Event):
    """How far a phase has come; ``total`` is none when nobody can know."""

    phase: str
    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found(Event):
    """One verified part of the result, while the plan goes on."""

    part: object


@dataclass(frozen=True, slots=True, eq=False)
class Spent(Event):
    """A gradient method has put ``rows`` through the model since it last said so."""

    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class FromPlan(Event):
    """An event of one of the plans that `gather` runs."""

    index: int
    event: Event


def innermost(event: Event) -> Event:
    """Take an event out of the plans that it comes through."""
    while isinstance(event, FromPlan):
        event = event.event
    return event


QueryPlan = Generator[Query | Event, Scores | None, T]
"""Yields `Query` and is sent scores, (n, k) float32 on the CPU; yields `Event` and is sent None."""

StopKind = Literal["inputs", "seconds", "cancelled"]


class Stop(Exception):  # noqa: N818 -- a signal to a plan, not an error
    """Thrown into a plan that must end: it may return what it has and must not ask again."""

    def __init__(self, kind: StopKind) -> None:
        super().__init__(kind)
        self.kind: StopKind = kind


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """A finished plan's result."""

    value: T


def step(plan: QueryPlan[T], scores: Scores | None = None) -> Query | Event | Done[T]:
    """Start ``plan`` (no scores) or resume it with the answer to its last query."""
    try:
        return next(plan) if scores is None else plan.send(scores)
    except StopIteration as end:
        return Done(end.value)


def stop(
    plan: QueryPlan[T], kind: StopKind, on_event: Callable[[Event], None] = lambda _: None
) -> Done[T]:
    """End ``plan`` early and return what it has; `Stop` comes back if that is nothing."""
    ending = stopping(plan, kind)
    try:
        while True:
            on_event(next(ending))
    except StopIteration as end:
        return Done(end.value)


def stopping(plan: QueryPlan[T], kind: StopKind) -> Generator[Event, None, T]:
    """End ``plan`` early: yield what it still tells, return what it has; see `stop`."""
    signal = Stop(kind)
    try:
        turn = plan.throw(signal)
        while isinstance(turn, Event):
            yield turn
            turn = next(plan)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        # A plan that keeps the signal would keep its own frames by it, with all their arrays, until
        # the collector of cycles comes by.
        signal.__traceback__ = None
    plan.close()
    raise RuntimeError(f"a plan asked again after Stop({kind!r})")


def gather(plans: Sequence[QueryPlan[T]]) -> QueryPlan[list[T]]:
    """Advance ``plans`` together, one joined query per round; events carry their plan's index.

    When it must stop, every plan is stopped, in order, and the list holds what each of them has;
    `Stop` comes back if one has nothing, after all have been stopped.
    """
    turns: list[Query | Event | Done[T]] = []
    try:
        turns += [step(plan) for plan in plans]
        while True:
            for index, plan in enumerate(plans):
                turns[index] = yield from _tell(index, plan, turns[index])
            asked = {i: turn for i, turn in enumerate(turns) if not isinstance(turn, Done | Event)}
            if not asked:
                break
            scores = yield from ask(join(list(asked.values())))
            shares = torch.split(scores, [len(query) for query in asked.values()])
            for i, share in zip(asked, shares, strict=True):
                turns[i] = step(plans[i], share)
    except Stop as end:
        yield from _stop_all(plans, turns, end)
    finally:
        for plan in plans:
            plan.close()
    return [turn.value for turn in turns if isinstance(turn, Done)]


def _stop_all(
    plans: Sequence[QueryPlan[T]], turns: list[Query | Event | Done[T]], end: Stop
) -> Generator[Query | Event, Scores | None, None]:
    """Stop the plans that are not done, and note in ``turns`` what they have."""
    empty = None
    for index, plan in enumerate(plans):
        if isinstance(turns[index], Done):
            continue
        ending = stopping(plan, end.kind)
        try:
            while True:
                yield FromPlan(index, next(ending))
        except StopIteration as last:
            turns[index] = Done(last.value)
        except Stop as nothing:
            empty = empty or nothing
    if empty:
        raise empty


def _tell(
    index: int, plan: QueryPlan[T], turn: Query | Event | Done[T]
) -> Generator[Query | Event, Scores | None, Query | Done[T]]:
    """Pass on the events of one plan, up to its next question or its end."""
    while isinstance(turn, Event):
        yield FromPlan(index, turn)
        turn = step(plan)
    return turn


def ask(query: Query) -> Generator[Query | Event, Scores | None, Scores]:
    """Yield ``query`` and return its scores; inside a plan, ``scores = yield from ask(query)``."""
    scores = yield query
    if scores is None:
        raise RuntimeError("a query was answered with nothing")
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What a classifier decided about each row of a question."""

    passes: torch.Tensor
    """(n,) bool: the target is decided, at the confidence asked for."""

    confidence: torch.Tensor
    """(n,) float32: the target's score."""

    scores: Scores


@dataclass(frozen=True, slots=True)
class Goal:
    """What counts as keeping the label: the target is decided, at ``floor`` confidence or more."""

    rule: Rule
    target: int
    floor: float = 0.0

    def judge(self, scores: Scores) -> Verdicts:
        own = scores[:, self.target]
        return Verdicts(self.rule.decides(scores, self.target) & (own >= self.floor), own, scores)

    def slack(self, scores: Scores) -> Margins:
        """Say how far each row is above the goal, (n,): the lesser of two log ratios.

        The rule's (see `Rule.log_margins`), and the target's score to the floor. Not below 0 where
        a row passes; what searches climb.
        """
        margins = self.rule.log_margins(scores, self.target)
        if self.floor > 0:
            own = scores[:, self.target].clamp(min=torch.finfo(scores.dtype).tiny)
            margins = torch.minimum(margins, own.log() - math.log(self.floor))
        return margins

    def near(self, scores: Scores) -> torch.Tensor:
        """(n,) bool: the decision is closer than `EPSILON`, so company could have moved it."""
        margins = self.rule.margins(scores, self.target).abs()
        if self.floor > 0:
            margins = torch.minimum(margins, (scores[:, self.target] - self.floor).abs())
        return margins < EPSILON


def decide(query: Query, goal: Goal) -> Generator[Query | Event, Scores | None, Verdicts]:
    """Ask ``query`` and judge each row, asking rows near the decision again, alone.

    Costs one extra round only when such rows exist.
    """
    scores = yield from ask(query)
    near = goal.near(scores)
    if bool(near.any()) and not all(leaf.alone for leaf in leaves(query)):
        rows = near.nonzero().flatten().tolist()
        scores = scores.clone()
        scores[near] = yield from ask(select(query, rows, alone=True))
    return goal.judge(scores)
