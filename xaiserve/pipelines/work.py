"""What becomes of a chunk: one row per task, whatever happens to its image. No Ray here."""

import dataclasses
import datetime as dt
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain, islice
from typing import Any, Final, Protocol, get_args, get_type_hints, runtime_checkable

import torch

from xaiserve.api import load_case, outcomes, scores_plan
from xaiserve.contrasts.base import ContrastProvider, check_contrast, with_contrasts
from xaiserve.contrasts.files import read_contrast
from xaiserve.errors import (
    InvalidInputError,
    NoExplanationError,
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
from xaiserve.pipelines.scoring import Scorer, with_curves
from xaiserve.pipelines.tasks import Task, describe
from xaiserve.storage.opening import is_s3, read_uri
from xaiserve.storage.records import Status, TaskRow
from xaiserve.storage.results import digest_of

READERS: Final = 4
AHEAD: Final = 8
"""Images that are read, by so many threads, before they are wanted."""

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = version("xaiserve")


@runtime_checkable
class Finisher(Protocol):
    """What a pipeline makes of an explanation: the result that is stored."""

    def result_type(self, explainer: Explainer) -> type[Explanation]:
        """Return the dataclass of the results of a method."""
        ...

    def finish(self, task: Task, case: Case, explanation: Explanation) -> Explanation:
        """Make a result of an explanation; an `InvalidInputError` becomes the row's error."""
        ...


@dataclass(frozen=True, slots=True)
class Finished:
    """One task's row, its result if there is one, and what its scores cost."""

    row: TaskRow
    result: Explanation | None = None
    score_inputs: int = 0


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A task whose image has been read, and the model's scores for it, (k,)."""

    task: Task
    case: Case
    scores: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Explained:
    """What a method made of a task, and the question about its scores if they are wanted."""

    loaded: _Loaded
    cost: Cost = field(default_factory=Cost)
    explanation: Explanation | None = None
    error: Exception | None = None
    scoring: Ticket[FaithfulnessCurves] | None = None


def result_type(explainer: Explainer) -> type[Explanation]:
    """Find what a method returns, from its annotation."""
    method = getattr(explainer, "attribute", None) or getattr(explainer, "plan", None)
    found: type[Explanation] = get_args(get_type_hints(method)["return"])[2]
    return found


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

    def lost(self, tasks: Sequence[Task], reason: str) -> list[Finished]:
        """Return rows that say why ``tasks`` were not explained."""
        return [Finished(self._row(task, "error", WorkerLostError(reason))) for task in tasks]

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
        loaded: deque[_Loaded] = deque()
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

    def _asked(self, explained: _Explained) -> _Explained:
        """Ask for the scores of an explanation, while the next are being explained."""
        if self.scorer is None or explained.explanation is None:
            return explained
        scoring = self.scorer.ask(explained.loaded.case, explained.explanation)
        return dataclasses.replace(explained, scoring=scoring)

    def _cases(
        self, tasks: Sequence[Task], loaded: deque[_Loaded], refused: list[Finished]
    ) -> Iterator[Case]:
        """Read images as they are wanted; those that cannot be read are told in ``refused``.

        Contrast pictures are made a batch at a time, while the images before are explained.
        """
        needed = "contrast" in needs_of(self.explainer)
        size = self.contrasts.batch if needed and self.contrasts else 1
        ready = self._ready(tasks, refused)
        while portion := list(islice(ready, size)):
            for each in self._contrasted(portion, refused) if needed else portion:
                loaded.append(each)
                yield each.case

    def _ready(self, tasks: Sequence[Task], refused: list[Finished]) -> Iterator[_Loaded]:
        for task, loading in self._loading(tasks):
            try:
                each = loading.result()
            except (InvalidInputError, NotFoundError) as error:
                refused.append(Finished(self._row(task, "invalid_image", error)))
                continue
            try:
                yield self._aimed(each)
            except InvalidInputError as error:
                row = self._row(task, "error", error, image_sha256=each.case.image_id)
                refused.append(Finished(row))

    def _loading(self, tasks: Sequence[Task]) -> "Iterator[tuple[Task, Future[_Loaded]]]":
        """Read a few images ahead: those of a bucket take long to come, and no work."""
        flying: deque[tuple[Task, Future[_Loaded]]] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            for task in tasks:
                flying.append((task, readers.submit(self._load, task)))
                if len(flying) > AHEAD:
                    yield flying.popleft()
            yield from flying

    def _contrasted(self, portion: Sequence[_Loaded], refused: list[Finished]) -> Iterator[_Loaded]:
        paired = [(each, self._with_stored(each)) for each in portion]
        wanting = [case for _, case in paired if isinstance(case, Case)]
        with self.drawing:
            made = iter(with_contrasts(self.contrasts, wanting) if self.contrasts else wanting)
        for each, case in paired:
            found = next(made) if isinstance(case, Case) else case
            if isinstance(found, StoreUnavailableError):
                raise found
            if isinstance(found, XaiServeError):
                refused.append(self._finished(_Explained(each, error=found)))
            else:
                yield dataclasses.replace(each, case=found)

    def _with_stored(self, loaded: _Loaded) -> Case | XaiServeError:
        """Add the contrast picture that the row names, if it names one."""
        uri, case = loaded.task.row.contrast, loaded.case
        if uri is None:
            return case
        try:
            spec = self.engine.classifier.spec
            contrast = read_contrast(read_image(uri), case, spec, name=uri.rpartition("/")[2])
            check_contrast(case, contrast)
        except (InvalidInputError, NotFoundError) as error:
            return error
        return dataclasses.replace(case, contrast=contrast)

    def _load(self, task: Task) -> _Loaded:
        model = self.engine.classifier
        # Aiming at class 0 for now: the engine finds the top class, and its score with it.
        case = load_case(read_image(task.row.uri), model, 0, name=task.row.row_id)
        scores = self.engine.submit(scores_plan(case.image), about=task.row.row_id).result()
        return _Loaded(task, case, scores[0])

    def _aimed(self, loaded: _Loaded) -> _Loaded:
        wanted, spec = loaded.task.row.target, self.engine.classifier.spec
        target = int(loaded.scores.argmax()) if wanted is None else spec.class_index(wanted)
        return dataclasses.replace(loaded, case=dataclasses.replace(loaded.case, target=target))

    def _finished(self, explained: _Explained) -> Finished:
        loaded, cost, scoring = explained.loaded, explained.cost, explained.scoring
        task, case = loaded.task, loaded.case
        result, error = self._result(explained)
        row = self._row(
            task,
            _status(error),
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

    def _row(self, task: Task, status: Status, error: Exception | None, **found: Any) -> TaskRow:
        model, method = self.engine.classifier, describe(self.explainer)
        contrast = found.pop("contrast", None)
        image = found.pop("image_sha256", "")
        return TaskRow(
            task_id=task.task_id,
            row_id=task.row.row_id,
            result_id=digest_of(
                [
                    *(image, found.get("target"), model.digest, method, self.seed),
                    self.max_inputs,
                    *([contrast.provider, contrast.digest] if contrast else ()),
                ]
            ),
            image_uri=task.row.uri,
            image_name=task.row.uri.rpartition("/")[2],
            image_sha256=image,
            model_name=model.name,
            model_digest=model.digest,
            method=self.explainer.name,
            method_version=self.explainer.version,
            params_json=json.dumps(method["parameters"], sort_keys=True),
            seed=self.seed,
            status=status,
            error_kind=None if error is None else type(error).__name__,
            error_text=None if error is None else str(error),
            height=model.spec.height,
            width=model.spec.width,
            xaiserve_version=_VERSION,
            created_at=self.now(),
            **found,
        )


def _status(error: Exception | None) -> Status:
    if error is None:
        return "ok"
    return "none" if isinstance(error, NoExplanationError) else "error"


def read_image(uri: str) -> bytes:
    """Read a picture of the input.

    Raises
    ------
    InvalidInputError
        A local file cannot be read: that file's fault. (In a bucket it is the bucket's.)
    NotFoundError, StoreUnavailableError
        As `read_uri`.
    """
    try:
        return read_uri(uri)
    except StoreUnavailableError as error:
        if is_s3(uri):
            raise
        raise InvalidInputError(str(error)) from error


def finds_sets(explainer: Explainer) -> bool:
    """Say whether a method returns several explanations, and which of them it selects."""
    fields = {field.name for field in dataclasses.fields(result_type(explainer))}
    return {"explanations", "selected"} <= fields
