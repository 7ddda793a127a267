"""A model's replicas behind `ClassifierPort`: what Serve's handles raise becomes ours."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from xaiserve.errors import CapacityError, ModelUnavailableError
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.bodies.told import FoundBody, Told
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.problem_details import UNAVAILABLE_RETRY_S, Problem
from xaiserve.serve.problems import ProblemError

T = TypeVar("T")

ATTEMPTS: Final = 3
"""How many replicas a request may outlive; asking again does no harm and gives the same answer."""


class RemoteClassifier:
    """A deployment's replicas behind `ClassifierPort`.

    A request whose replica dies is asked again of another, or of its successor.

    Parameters
    ----------
    is_shared
        Whether the replicas hold other models as well, and must be told which is meant.
    """

    def __init__(
        self, name: str, handle: DeploymentHandle[Any], *, is_shared: bool = False
    ) -> None:
        self._name = name
        self._which = (name,) if is_shared else ()
        self._handle = handle
        self._streaming: Any = handle.options(stream=True)  # Any: Ray types what streams otherwise

    async def card(self) -> ModelBody:
        return await self._ask(lambda: self._handle.card.remote(*self._which))

    async def predict(self, request: PredictRequest) -> PredictBody:
        return await self._ask(lambda: self._handle.predict.remote(request, *self._which))

    async def score(self, request: ScoreRequest) -> Scored:
        return await self._ask(lambda: self._handle.score.remote(request, *self._which))

    async def explain(self, request: ExplainRequest) -> ExplainBody:
        return await self._ask(lambda: self._handle.explain.remote(request, *self._which))

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        parts = 0
        for attempt in range(ATTEMPTS):
            answers = self._streaming.stream.remote(request, *self._which)
            try:
                async for told in self._told(answers):
                    if isinstance(told, FoundBody):
                        if told.index < parts:  # of a replica that has died: it was told already
                            continue
                        parts = told.index + 1
                    yield told
            except RayActorError as error:
                if attempt == ATTEMPTS - 1:
                    raise self._unavailable() from error
            else:
                return
            finally:
                answers.cancel()

    async def _told(self, answers: Any) -> AsyncGenerator[Told, None]:
        with self._explained():
            async for answer in answers:
                yield _unwrapped(answer)

    async def _ask(self, send: Callable[[], Awaitable[T | Problem]]) -> T:
        for _ in range(ATTEMPTS - 1):
            try:
                with self._explained():
                    return _unwrapped(await send())
            except RayActorError:
                continue
        try:
            with self._explained():
                return _unwrapped(await send())
        except RayActorError as error:
            raise self._unavailable() from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BackPressureError as error:
            raise CapacityError(
                f"the queue of model {self._name!r} is full", retry_after_s=UNAVAILABLE_RETRY_S
            ) from error
        except DeploymentUnavailableError as error:
            raise self._unavailable() from error

    def _unavailable(self) -> ModelUnavailableError:
        return ModelUnavailableError(f"no replica of model {self._name!r} answers")


def _unwrapped(answer: T | Problem) -> T:
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    return answer
