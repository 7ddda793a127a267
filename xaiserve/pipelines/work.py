"""What becomes of a chunk: one row per task, whatever happens to its image. No Ray here."""

import dataclasses
import datetime as dt
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from xaiserve.api import outcomes
from xaiserve.contrasts.base import ContrastProvider
from xaiserve.errors import (
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
    WorkerLostError,
    XaiServeError,
)
from xaiserve.explainers.base import Explainer, Explanation, needs_of
from xaiserve.metrics.deletion import FaithfulnessCurves
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Cost, Limits, Ticket
from xaiserve.pipelines.finishing import Finisher
from xaiserve.pipelines.loading import AHEAD, Loaded, Loader, Refused
from xaiserve.pipelines.rows import RowMaker, status_of
from xaiserve.pipelines.scoring import Scorer, with_curves
from xaiserve.pipelines.tasks import Task
from xaiserve.storage.records import Status, TaskRow

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """One task's row, its result if there is one, and what its scores cost."""

    row: TaskRow
    result: Explanation | None = None
    score_inputs: int = 0


@dataclass(frozen=True, slots=True)
class _Explained:
    """What a method made of a task, and the question about its scores if they are wanted."""

    loaded: Loaded
    cost: Cost = field(default_factory=Cost)
    explanation: Explanation | None = None
    error: Exception | None = None
    scoring: Ticket[FaithfulnessCurves] | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """A method on an engine, with all that its rows repeat.

    Parameters
    ----------
    explainer
        The method.
    engine
        Holds the model.
    finisher
        Makes the stored result of every explanation.
    seed
        As in `api.outcomes`.
    max_inputs
        Model inputs that one explanation may cost.
    now
        The time, with a zone.
    contrasts
        Makes the contrast pictures of rows that name none, for methods that need one.
    drawing
        Held while it does, for benches in several threads share it.
    scorer
        Asks for the scores of every explanation, if a job wants some.
    """

    explainer: Explainer
    engine: Engine
    finisher: Finisher
    seed: int = 0
    max_inputs: int | None = None
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    contrasts: ContrastProvider | None = None
    drawing: AbstractContextManager[object] = field(default_factory=nullcontext)
    scorer: Scorer | None = None

    @property
    def _rows(self) -> RowMaker:
        model = self.engine.classifier
        return RowMaker(self.explainer, model, self.seed, self.max_inputs, self.now)

    def lost(self, tasks: Sequence[Task], reason: str) -> list[Finished]:
        """Return rows that say why ``tasks`` were not explained."""
        error = WorkerLostError(reason)
        return [Finished(self._rows.row(task, "error", error)) for task in tasks]

    def explain(self, tasks: Sequence[Task]) -> list[Finished]:
        """Explain ``tasks``, many in flight, and return one result per task, in order.

        Raises
        ------
        StoreUnavailableError
            The images' bucket cannot be reached: no image's fault, so no row.
        """
        found = {finished.row.task_id: finished for finished in self._explain(tasks)}
        return [found[task.task_id] for task in tasks]

    def _explain(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        refused: list[Finished] = []
        flying: deque[_Explained] = deque()
        for each in self._explained(tasks, refused):
            flying.append(self._asked(each))
            if len(flying) > AHEAD:
                yield self._finished(flying.popleft())
        yield from map(self._finished, flying)
        yield from refused

    def _explained(self, tasks: Sequence[Task], refused: list[Finished]) -> Iterator[_Explained]:
        loaded: deque[Loaded] = deque()
        fresh = self._cases(tasks, loaded, refused)
        limits = Limits(max_inputs=self.max_inputs)
        done = False
        while not done:
            cases = chain([each.case for each in loaded], fresh)
            try:
                for outcome in outcomes(
                    self.explainer, self.engine, cases, seed=self.seed, limits=limits
                ):
                    yield _Explained(
                        loaded.popleft(), outcome.cost, outcome.explanation, outcome.error
                    )
                done = True
            except StoreUnavailableError:
                raise
            except Exception as error:
                # A bug in the method, met by the case whose turn it was: its row, and the others
                # start anew.
                if not loaded:
                    raise
                faulty = loaded.popleft()
                _LOG.exception("%s failed on image %s", self.explainer.name, faulty.case.image_id)
                yield _Explained(faulty, error=error)

    def _cases(
        self, tasks: Sequence[Task], loaded: deque[Loaded], refused: list[Finished]
    ) -> Iterator[Case]:
        """Yield the cases of tasks; those that cannot be explained are told in ``refused``."""
        needed = "contrast" in needs_of(self.explainer)
        for each in Loader(self.engine, needed, self.contrasts, self.drawing).load(tasks):
            if isinstance(each, Refused):
                refused.append(self._refused(each))
            else:
                loaded.append(each)
                yield each.case

    def _refused(self, each: Refused) -> Finished:
        if each.loaded is not None:
            return self._finished(_Explained(each.loaded, error=each.error))
        status: Status = "error" if each.image_id else "invalid_image"
        return Finished(self._rows.row(each.task, status, each.error, image_sha256=each.image_id))

    def _asked(self, explained: _Explained) -> _Explained:
        """Ask for the scores of an explanation, while the next are being explained."""
        if self.scorer is None or explained.explanation is None:
            return explained
        scoring = self.scorer.ask(explained.loaded.case, explained.explanation)
        return dataclasses.replace(explained, scoring=scoring)

    def _finished(self, explained: _Explained) -> Finished:
        loaded, cost, scoring = explained.loaded, explained.cost, explained.scoring
        task, case = loaded.task, loaded.case
        result, error = self._result(explained)
        row = self._rows.row(
            task,
            status_of(error),
            error,
            image_sha256=case.image_id,
            target=case.target,
            target_label=self.engine.classifier.spec.labels[case.target],
            confidence=float(loaded.scores[case.target]),
            model_inputs=cost.model_inputs + 1,
            repeated_questions=cost.repeated_questions,
            device_seconds=cost.device_seconds,
            wall_seconds=cost.wall_seconds,
            frame=case.frame,
            contrast=case.contrast,
        )
        return Finished(row, result, scoring.cost.model_inputs if scoring else 0)

    def _result(self, explained: _Explained) -> tuple[Explanation | None, Exception | None]:
        """Make what is stored of an explanation, or say why there is nothing to store."""
        loaded, scoring = explained.loaded, explained.scoring
        if explained.explanation is None:
            return None, explained.error
        try:
            result = self.finisher.finish(loaded.task, loaded.case, explained.explanation)
        except (InvalidInputError, NotFoundError) as fault:
            return None, fault
        if scoring is None:
            return result, None
        error = scoring.future.exception()
        if error is None:
            return with_curves(result, scoring), None
        if not isinstance(error, Exception):
            raise error
        if not isinstance(error, XaiServeError):  # a bug, or the model's; no other row's fault
            _LOG.error("scores failed on image %s", loaded.case.image_id, exc_info=error)
        return None, error
