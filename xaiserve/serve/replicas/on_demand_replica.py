"""A replica that holds many models, each while it is asked for; `ClassifierServer` for each."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from xaiserve.contrasts.opening import open_provider
from xaiserve.dispatch.ray_meter import RayMeter
from xaiserve.errors import InvalidInputError, XaiServeError
from xaiserve.models.sources import find_model
from xaiserve.report.overlays import overlay_png
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.config import Queue, Uploads
from xaiserve.serve.incoming.request_ids import set_request_id
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.model_settings import ModelSettings, OnDemand
from xaiserve.serve.observing.logs import configure_logs
from xaiserve.serve.problem_details import Problem
from xaiserve.serve.problems import as_value, problem_of
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.replicas.on_demand import Shelf
from xaiserve.serve.replicas.opening import open_classifier
from xaiserve.serve.settings import Logs

T = TypeVar("T")

PER_WEIGHT: Final = 2
"""What a model takes beside its weights, as much again: activations, the runtime's copies."""

PER_MODEL: Final = 64 << 20
"""What any model takes: its engine's threads and buffers."""


def model_bytes(model: ModelSettings) -> int:
    """Estimate the memory of a model from its files, where the settings do not state it.

    Raises
    ------
    InvalidInputError
        It has no files to go by.
    """
    if model.memory_bytes is not None:
        return model.memory_bytes
    found = find_model(model.source)
    kind = model.file_format or found.named or next(iter(found.formats), None)
    if kind is None:
        raise InvalidInputError(f"model {model.source} holds no format that can be loaded")
    return PER_MODEL + PER_WEIGHT * sum(file.stat().st_size for file in found.files(kind))


class OnDemandReplica:
    """Answers for every model that it may hold; errors of callers come back as values."""

    def __init__(self, settings: OnDemand, *, queue: Queue, uploads: Uploads, logs: Logs) -> None:
        configure_logs(logs)
        self._settings = settings
        self._queue = queue
        self._uploads = uploads
        self._meter = RayMeter()
        self._shelf: Shelf[ClassifierServer] = Shelf(
            {name: _size(model) for name, model in settings.models.items()},
            settings.memory_bytes,
            self._load,
            self._meter,
        )

    async def card(self, name: str) -> ModelBody | Problem:
        return await self._with(name, lambda server: server.card())

    async def predict(self, request: PredictRequest, name: str) -> PredictBody | Problem:
        set_request_id(request.request_id)
        return await self._with(name, lambda server: server.predict(request))

    async def score(self, request: ScoreRequest, name: str) -> Scored | Problem:
        return await self._with(name, lambda server: server.score(request))

    async def explain(self, request: ExplainRequest, name: str) -> ExplainBody | Problem:
        set_request_id(request.request_id)
        return await self._with(name, lambda server: server.explain(request))

    async def stream(
        self, request: ExplainRequest, name: str
    ) -> AsyncGenerator[Told | Problem, None]:
        set_request_id(request.request_id)
        try:
            async with self._shelf.use(name) as server, aclosing(server.stream(request)) as told:
                async for each in told:
                    yield each
        except XaiServeError as error:
            yield problem_of(error)

    async def check_health(self) -> None:
        """Publish the numbers of what is there: Ray's exporter forgets those not told again."""
        self._shelf.tell()
        for server in self._shelf.loaded:
            server.sample()

    async def _with(
        self, name: str, ask: Callable[[ClassifierServer], Awaitable[T]]
    ) -> T | Problem:
        async def answer() -> T:
            async with self._shelf.use(name) as server:
                return await ask(server)

        return await as_value(answer())

    async def _load(self, name: str) -> ClassifierServer:
        model = self._settings.models[name]
        classifier = await asyncio.to_thread(open_classifier, name, model)
        contrasts = model.contrasts
        return ClassifierServer(
            classifier,
            queue=self._queue,
            limits=self._uploads.limits,
            draw=overlay_png,
            contrast=None if contrasts is None else contrasts.kind,
            open_contrasts=None
            if contrasts is None
            else lambda spec, ask: open_provider(contrasts, spec, ask),
            meter=self._meter,
        )

    def __del__(self) -> None:
        """End the engines' threads: Serve calls this when a replica stops."""
        if hasattr(self, "_shelf"):
            self._shelf.close()


def _size(model: ModelSettings) -> int:
    """Count a model without usable files with the least: loading it says what is wrong."""
    try:
        return model_bytes(model)
    except XaiServeError:
        return PER_MODEL
