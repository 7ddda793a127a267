"""`Scorer`: what one worker does. No Ray here."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from xaiserve.dispatch.parcels import KEPT_BYTES, Array, Parcel, Shelf
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.lanes import LocalLane, fault_of


@dataclass(frozen=True, slots=True)
class Card:
    """Which model a worker holds, how many classes it has, and the worker's process."""

    name: str
    digest: str
    classes: int
    process: int


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The scores (n, k) float32 of a batch, and the seconds they took where they were made."""

    scores: Array
    seconds: float


@dataclass(frozen=True, slots=True)
class Missing:
    """The worker does not keep what these numbers stand for."""

    numbers: frozenset[int]


@dataclass(frozen=True, slots=True)
class Fault:
    """The model failed on a batch; one sentence."""

    text: str


Outcome = Answer | Missing | Fault


def split(outcome: Outcome, pieces: int) -> tuple[Outcome, ...]:
    """Cut an answer into so many of some rows each; another outcome is repeated."""
    if not isinstance(outcome, Answer):
        return (outcome,) * pieces
    parts = np.array_split(outcome.scores, pieces)
    return tuple(Answer(part, outcome.seconds) for part in parts)


def joined(pieces: Sequence[Outcome]) -> Outcome:
    """Undo `split`."""
    answers = [piece for piece in pieces if isinstance(piece, Answer)]
    if not answers:
        return pieces[0]
    return Answer(np.concatenate([answer.scores for answer in answers]), answers[0].seconds)


class Scorer:
    """Holds a model and scores batches that are described to it.

    Parameters
    ----------
    make
        Loads the model.
    threads
        Threads that torch computes with, at least 1.
    kept_bytes
        See `Shelf`.
    """

    def __init__(
        self, make: Callable[[], Classifier], *, threads: int = 1, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._make = make
        self._threads = threads
        self._shelf = Shelf(kept_bytes)
        self._classifier: Classifier | None = None
        self._lane: LocalLane | None = None

    def load(self) -> Card | Fault:
        """Load the model; first of all."""
        torch.set_num_threads(self._threads)
        try:
            self._classifier = self._make()
        except Exception as error:  # noqa: BLE001 -- told to whoever asked
            return Fault(f"{type(error).__name__}: {error}")
        model = self._classifier
        return Card(model.name, model.digest, model.spec.classes, os.getpid())

    def prepare(self, rows: int | None) -> int:
        """Make room for batches of ``rows``, or of what is fastest here (measured, 2 s); say it."""
        if self._classifier is None:
            raise RuntimeError("load comes before prepare")
        rows = rows or self._classifier.batch_rows
        self._lane = LocalLane(self._classifier, rows, depth=1)
        return rows

    def score(self, parcel: Parcel) -> Outcome:
        """Score one batch."""
        if self._classifier is None or self._lane is None:
            raise RuntimeError("load and prepare come before score")
        missing = self._shelf.missing(parcel)
        if missing:
            return Missing(missing)
        try:
            scored = self._lane.begin(list(self._shelf.unpack(parcel))).result()
        except Exception as error:  # noqa: BLE001 -- told to whoever asked, with the model's name
            return Fault(str(fault_of(self._classifier.name, error)))
        return Answer(scored.scores.numpy(), scored.seconds)

    def score_in_pieces(self, parcel: Parcel, pieces: int) -> tuple[Outcome, ...]:
        """Score one batch, the outcome `split`."""
        return split(self.score(parcel), pieces)
