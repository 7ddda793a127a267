"""The service on Ray Serve: the only file that decorates and binds."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.deployment import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from xaiserve.contrasts.base import Ask, ContrastProvider
from xaiserve.contrasts.opening import open_provider
from xaiserve.errors import CapacityError, ModelUnavailableError, XaiServeError
from xaiserve.gan.translator import load_translator
from xaiserve.models.spec import ModelSpec
from xaiserve.report.overlays import overlay_png
from xaiserve.serve.access import Guard
from xaiserve.serve.autoscaling import STAT
from xaiserve.serve.classifier import ClassifierServer
from xaiserve.serve.config import (
    ModelSettings,
    OnDemand,
    Queue,
    ServiceConfig,
    TranslatorSettings,
    Uploads,
)
from xaiserve.serve.explanations import GRACE_S
from xaiserve.serve.fetching import Fetcher
from xaiserve.serve.handles import RemoteClassifier
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.keeping import keep
from xaiserve.serve.logs import configure_logs
from xaiserve.serve.on_demand_replica import OnDemandReplica
from xaiserve.serve.opening import open_classifier
from xaiserve.serve.problems import UNAVAILABLE_RETRY_S, Problem, as_value, problem_of
from xaiserve.serve.ray_meter import RayMeter
from xaiserve.serve.request_ids import set_request_id
from xaiserve.serve.requests import ExplainRequest, PredictRequest, Scored, ScoreRequest
from xaiserve.serve.scaling import scale_options
from xaiserve.serve.schemas import ExplainBody, ModelBody, PredictBody
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Logs
from xaiserve.serve.telling import Told
from xaiserve.serve.translator import (
    RemoteTranslator,
    Translated,
    TranslateRequest,
    TranslatorCard,
    TranslatorServer,
    wait_from_thread,
)

T = TypeVar("T")

INGRESS_ONGOING = 64
"""Requests in one ingress replica: it only waits."""

ONGOING_BATCHES = 4
"""Batches of pictures in one translator replica: one is drawn, the others are gathered."""

STARTS = 3
"""How often a replica may fail to start before its deployment has failed."""


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


def _count_images(requests: list[TranslateRequest]) -> int:
    return sum(map(len, requests))


class TranslatorReplica:
    """`TranslatorServer` in a replica: pictures of many requests are drawn together."""

    def __init__(self, translator: TranslatorSettings, logs: Logs) -> None:
        configure_logs(logs)
        self._server = TranslatorServer(
            load_translator(translator.source, device=translator.device)
        )
        batching: Any = self.translate  # Any: what Serve's decorator adds has no types
        batching.set_max_batch_size(translator.batch_images)
        batching.set_batch_wait_timeout_s(translator.batch_wait_s)

    async def card(self) -> TranslatorCard:
        return self._server.card()

    @serve.batch(batch_size_fn=_count_images)
    async def translate(self, requests: list[TranslateRequest]) -> list[Translated]:
        return await asyncio.to_thread(self._server.translate, requests)


class TranslatorHandle:
    """A translator deployment's replicas, as a classifier's replica asks them."""

    def __init__(self, title: str, handle: DeploymentHandle[Any]) -> None:
        self._title = title
        self._handle = handle

    async def card(self) -> TranslatorCard:
        return await self._ask(self._handle.card.remote)

    async def translate(self, request: TranslateRequest) -> Translated:
        return await self._ask(lambda: self._handle.translate.remote(request))

    async def _ask(self, send: Callable[[], Awaitable[T]]) -> T:
        """Send once more when a replica has died over it: translating twice does no harm."""
        try:
            try:
                return await send()
            except RayActorError:
                return await send()
        except BackPressureError as error:
            raise CapacityError(
                f"the queue of translator {self._title!r} is full",
                retry_after_s=UNAVAILABLE_RETRY_S,
            ) from error
        except (DeploymentUnavailableError, RayActorError) as error:
            raise ModelUnavailableError(
                f"no replica of translator {self._title!r} answers"
            ) from error


class Ingress:
    """The routes in a replica, with a handle per model."""

    def __init__(self, models: Mapping[str, DeploymentHandle[Any]], config: ServiceConfig) -> None:
        configure_logs(config.logs)
        self._meter = RayMeter()
        remote = {name: _port(name, handle, config) for name, handle in models.items()}
        kept = keep(config.answers, remote, self._meter)
        self._service = Service(
            models=remote,
            uploads=config.uploads,
            budget=config.budget,
            fetcher=Fetcher(config.sources),
            explanations=kept.explanations,
            replays=kept.replays,
            results=kept.results,
            jobs=Jobs(config.jobs, config.models),
            may_sleep=config.sleepers,
        )
        self._access = config.access
        self._share = 1 / config.ingress_replicas

    def __serve_build_asgi_app__(self) -> FastAPI:
        keys = self._access.keys
        guard = None if keys is None else Guard(Path(keys), share=self._share)
        return build_ingress(
            self._service, guard=guard, origins=self._access.origins, meter=self._meter
        )


def _port(name: str, handle: DeploymentHandle[Any], config: ServiceConfig) -> RemoteClassifier:
    return RemoteClassifier(name, handle, is_shared=name in config.on_demand_models)


def build_app(config: ServiceConfig) -> Application:
    """Bind one deployment per model and the ingress before them; what ``service.yaml`` names."""
    drain_s = config.budget.max_seconds + GRACE_S
    models = {
        name: _classifier(name, model, config, drain_s) for name, model in config.models.items()
    }
    if config.on_demand is not None:
        models |= dict.fromkeys(
            config.on_demand_models, _on_demand(config.on_demand, config, drain_s)
        )
    deploy = serve.deployment(
        num_replicas=config.ingress_replicas,
        max_ongoing_requests=INGRESS_ONGOING,
        max_queued_requests=INGRESS_ONGOING,
        backpressure_config={"status_code": 429, "retry_after_s": config.queue.retry_after_s},
        graceful_shutdown_timeout_s=drain_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": 0},
    )
    return deploy(serve.ingress()(Ingress)).bind(models, config)


def _classifier(
    name: str, model: ModelSettings, config: ServiceConfig, drain_s: float
) -> Application:
    queue = config.queue
    deploy = serve.deployment(
        name=f"classifier-{name}",
        **scale_options(model),
        # The replica counts its places itself; Serve's bound only keeps its inbox finite.
        max_ongoing_requests=2 * (queue.running + queue.waiting + queue.predicts),
        max_queued_requests=queue.running + queue.waiting + queue.predicts,
        graceful_shutdown_timeout_s=drain_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": model.cpus, "num_gpus": model.gpus},
    )
    translator = None if model.translator is None else _translator(name, model.translator, config)
    return deploy(ClassifierReplica).bind(
        name,
        model,
        queue=queue,
        uploads=config.uploads,
        logs=config.logs,
        translator=translator,
    )


def _on_demand(shared: OnDemand, config: ServiceConfig, drain_s: float) -> Application:
    queue = config.queue
    places = len(shared.models) * (queue.running + queue.waiting + queue.predicts)
    deploy = serve.deployment(
        name="on-demand",
        num_replicas=1,
        max_ongoing_requests=2 * places,
        max_queued_requests=places,
        graceful_shutdown_timeout_s=drain_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": shared.cpus, "num_gpus": shared.gpus},
    )
    return deploy(OnDemandReplica).bind(
        shared, queue=queue, uploads=config.uploads, logs=config.logs
    )


def _translator(name: str, translator: TranslatorSettings, config: ServiceConfig) -> Application:
    deploy = serve.deployment(
        name=f"translator-{name}",
        num_replicas=translator.replicas,
        max_ongoing_requests=ONGOING_BATCHES * translator.batch_images,
        # Per classifier replica: each of its explanations has at most one request here.
        max_queued_requests=max(config.queue.running, ONGOING_BATCHES * translator.batch_images),
        graceful_shutdown_timeout_s=translator.timeout_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": translator.cpus, "num_gpus": translator.gpus},
    )
    return deploy(TranslatorReplica).bind(translator, config.logs)
