"""From tasks to cases: images are read ahead, aimed at a class and given their contrast picture."""

import dataclasses
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Final

import torch

from xaiserve.api import load_case, scores_plan
from xaiserve.contrasts.base import ContrastProvider, check_contrast, with_contrasts
from xaiserve.contrasts.files import read_contrast
from xaiserve.errors import (
    ClassifierFaultError,
    InvalidInputError,
    NotFoundError,
    StoreUnavailableError,
    XaiServeError,
)
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.pipelines.tasks import Task
from xaiserve.storage.opening import is_s3, read_uri

READERS: Final = 4
AHEAD: Final = 8
"""Images that are read, by so many threads, before they are wanted."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A task whose image has been read, and the model's scores for it, (k,)."""

    task: Task
    case: Case
    scores: torch.Tensor


@dataclass(frozen=True, slots=True)
class Refused:
    """A task that cannot be explained, and why.

    Parameters
    ----------
    image_id
        Empty when its image could not be read: then the error is about that.
    loaded
        All of it but the contrast picture, when that is what the error is about.
    """

    task: Task
    error: XaiServeError
    image_id: str = ""
    loaded: Loaded | None = None


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads the images of tasks, and asks the engine for their scores.

    Parameters
    ----------
    engine
        Holds the model.
    needs_contrast
        Whether the method does.
    contrasts
        Makes the contrast pictures of rows that name none.
    drawing
        Held while it does.
    """

    engine: Engine
    needs_contrast: bool
    contrasts: ContrastProvider | None
    drawing: AbstractContextManager[object]

    def load(self, tasks: Sequence[Task]) -> Iterator[Loaded | Refused]:
        """Read images as they are wanted.

        Contrast pictures are made a batch at a time, while the images before are explained.

        Raises
        ------
        StoreUnavailableError
            The images' bucket cannot be reached.
        """
        ready = (self._ready(task, loading) for task, loading in self._loading(tasks))
        if not self.needs_contrast:
            yield from ready
            return
        size = self.contrasts.batch if self.contrasts else 1
        while portion := list(islice(ready, size)):
            yield from self._contrasted(portion)

    def _ready(self, task: Task, loading: "Future[Loaded | Refused]") -> Loaded | Refused:
        try:
            each = loading.result()
        except (InvalidInputError, NotFoundError) as error:
            return Refused(task, error)
        if isinstance(each, Refused):
            return each
        try:
            return self._aimed(each)
        except InvalidInputError as error:
            return Refused(task, error, each.case.image_id)

    def _loading(self, tasks: Sequence[Task]) -> "Iterator[tuple[Task, Future[Loaded | Refused]]]":
        """Read a few images ahead: those of a bucket take long to come, and no work."""
        flying: deque[tuple[Task, Future[Loaded | Refused]]] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            for task in tasks:
                flying.append((task, readers.submit(self._load, task)))
                if len(flying) > AHEAD:
                    yield flying.popleft()
            yield from flying

    def _load(self, task: Task) -> Loaded | Refused:
        model = self.engine.classifier
        # Aiming at class 0 for now: the engine finds the top class, and its score with it.
        case = load_case(read_image(task.row.uri), model, 0, name=task.row.row_id)
        try:
            scores = self.engine.submit(scores_plan(case.image), about=task.row.row_id).result()
        except ClassifierFaultError as error:  # the model's, on this picture
            return Refused(task, error, case.image_id)
        return Loaded(task, case, scores[0])

    def _aimed(self, loaded: Loaded) -> Loaded:
        wanted, spec = loaded.task.row.target, self.engine.classifier.spec
        target = int(loaded.scores.argmax()) if wanted is None else spec.class_index(wanted)
        return dataclasses.replace(loaded, case=dataclasses.replace(loaded.case, target=target))

    def _contrasted(self, portion: Sequence[Loaded | Refused]) -> Iterator[Loaded | Refused]:
        stored = [self._with_stored(each) if isinstance(each, Loaded) else each for each in portion]
        lacking = [each for each in stored if isinstance(each, Loaded)]
        cases = [each.case for each in lacking]
        with self.drawing:
            made = iter(with_contrasts(self.contrasts, cases) if self.contrasts else cases)
        for each in stored:
            yield _completed(each, next(made)) if isinstance(each, Loaded) else each

    def _with_stored(self, loaded: Loaded) -> Loaded | Refused:
        """Add the contrast picture that the row names, if it names one."""
        uri, case = loaded.task.row.contrast, loaded.case
        if uri is None:
            return loaded
        try:
            spec = self.engine.classifier.spec
            contrast = read_contrast(read_image(uri), case, spec, name=uri.rpartition("/")[2])
            check_contrast(case, contrast)
        except (InvalidInputError, NotFoundError) as error:
            return Refused(loaded.task, error, case.image_id, loaded)
        return dataclasses.replace(loaded, case=dataclasses.replace(case, contrast=contrast))


def _completed(loaded: Loaded, found: Case | XaiServeError) -> Loaded | Refused:
    if isinstance(found, StoreUnavailableError):
        raise found
    if isinstance(found, XaiServeError):
        return Refused(loaded.task, found, loaded.case.image_id, loaded)
    return dataclasses.replace(loaded, case=found)


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
