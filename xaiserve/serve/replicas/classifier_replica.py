"""A replica that holds one model: `ClassifierServer` as Ray Serve calls it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ray.serve.handle import DeploymentHandle

from xaiserve.contrasts.base import Ask, ContrastProvider
from xaiserve.contrasts.opening import open_provider
from xaiserve.dispatch.ray_meter import RayMeter
from xaiserve.errors import XaiServeError
from xaiserve.models.spec import ModelSpec
from xaiserve.report.overlays import overlay_png
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.config import Queue, Uploads
from xaiserve.serve.incoming.request_ids import set_request_id
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.observing.logs import configure_logs
from xaiserve.serve.problem_details import Problem
from xaiserve.serve.problems import as_value, problem_of
from xaiserve.serve.replicas.autoscaling import STAT
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.replicas.opening import open_classifier
from xaiserve.serve.replicas.translator import RemoteTranslator, wait_from_thread
from xaiserve.serve.replicas.translator_replica import TranslatorHandle
from xaiserve.serve.settings import Logs


class ClassifierReplica:
    """`ClassifierServer` in a replica.

    Errors that belong to callers come back as values: raised, each would leave a traceback in the
    replica's log and arrive wrapped.
    """

    def __init__(
        self,
        name: str,
        model: ModelSettings,
        *,
        queue: Queue,
        uploads: Uploads,
        logs: Logs,
        translator: DeploymentHandle[Any] | None = None,
    ) -> None:
        configure_logs(logs)
        classifier = open_classifier(name, model)
        self._settings = model
        self._translator = translator
        self._loop: asyncio.AbstractEventLoop | None = None
        contrasts = model.contrasts
        self._server = ClassifierServer(
            classifier,
            queue=queue,
            limits=uploads.limits,
            draw=overlay_png,
            contrast=None if contrasts is None else contrasts.kind,
            open_contrasts=None if contrasts is None else self._open_contrasts,
            meter=RayMeter(),
        )

    async def card(self) -> ModelBody:
        return await self._server.card()

    async def predict(self, request: PredictRequest) -> PredictBody | Problem:
        set_request_id(request.request_id)
        return await as_value(self._server.predict(request))

    async def score(self, request: ScoreRequest) -> Scored | Problem:
        return await as_value(self._server.score(request))

    async def explain(self, request: ExplainRequest) -> ExplainBody | Problem:
        self._loop = asyncio.get_running_loop()
        set_request_id(request.request_id)
        return await as_value(self._server.explain(request))

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told | Problem, None]:
        self._loop = asyncio.get_running_loop()
        set_request_id(request.request_id)
        async with aclosing(self._server.stream(request)) as told:
            try:
                async for each in told:
                    yield each
            except XaiServeError as error:
                yield problem_of(error)

    def _open_contrasts(self, spec: ModelSpec, ask: Ask) -> ContrastProvider:
        """Open the model's own contrast pictures; called on a thread, at the first request."""
        assert self._settings.contrasts is not None  # noqa: S101 -- or nobody would ask
        return open_provider(self._settings.contrasts, spec, ask, load=self._remote_translator)

    def _remote_translator(self, source: str, **_: object) -> RemoteTranslator:
        settings, handle, loop = self._settings.translator, self._translator, self._loop
        assert settings is not None and handle is not None and loop is not None  # noqa: S101, PT018
        title = source.rstrip("/").rpartition("/")[2]
        remote = TranslatorHandle(title, handle)
        return RemoteTranslator(
            title=title,
            card=wait_from_thread(remote.card(), loop, settings.timeout_s, title),
            ask=remote.translate,
            loop=loop,
            batch_images=settings.batch_images,
            timeout_s=settings.timeout_s,
        )

    async def check_health(self) -> None:
        await self._server.check()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return {STAT: self._server.pending_inputs}

    def __del__(self) -> None:
        """End the engine's threads: Serve calls this when a replica stops."""
        if hasattr(self, "_server"):
            self._server.close()
