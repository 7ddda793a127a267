"""The service on Ray Serve: the only file that decorates and binds."""

from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.deployment import Application
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from xaiserve.errors import CapacityError, ModelUnavailableError, XaiServeError
from xaiserve.models.loading import load_classifier
from xaiserve.report.overlays import overlay_png
from xaiserve.serve.classifier import ClassifierServer
from xaiserve.serve.config import Budget, ModelSettings, Queue, ServiceConfig, Uploads
from xaiserve.serve.ingress import GRACE_S, Service, build_ingress
from xaiserve.serve.problems import UNAVAILABLE_RETRY_S, Problem, ProblemError, problem_of
from xaiserve.serve.requests import ExplainRequest, PredictRequest
from xaiserve.serve.schemas import ExplainBody, ModelBody, PredictBody

T = TypeVar("T")

INGRESS_ONGOING = 64
"""Requests in one ingress replica: it only waits."""

STARTS = 3
"""How often a replica may fail to start before its deployment has failed."""


class ClassifierReplica:
    """`ClassifierServer` in a replica.

    Errors that belong to callers come back as values: raised, each would leave a traceback in the
    replica's log and arrive wrapped.
    """

    def __init__(self, name: str, model: ModelSettings, queue: Queue, uploads: Uploads) -> None:
        classifier = load_classifier(
            model.source,
            name=name,
            device=model.device,
            precision=model.precision,
            file_format=model.file_format,
            trust_code=model.trust_code,
            batch_rows=model.batch_rows,
            threads=model.thread_count,
            overrides=model.overrides,
        )
        self._server = ClassifierServer(
            classifier, queue=queue, limits=uploads.limits, draw=overlay_png
        )

    async def card(self) -> ModelBody:
        return await self._server.card()

    async def predict(self, request: PredictRequest) -> PredictBody | Problem:
        return await _as_value(self._server.predict(request))

    async def explain(self, request: ExplainRequest) -> ExplainBody | Problem:
        return await _as_value(self._server.explain(request))

    async def check_health(self) -> None:
        await self._server.check()

    def __del__(self) -> None:
        """End the engine's threads: Serve calls this when a replica stops."""
        if hasattr(self, "_server"):
            self._server.close()


async def _as_value(answer: Awaitable[T]) -> T | Problem:
    try:
        return await answer
    except XaiServeError as error:
        return problem_of(error)


class RemoteClassifier:
    """A deployment's replicas behind `ClassifierPort`."""

    def __init__(self, name: str, handle: DeploymentHandle[Any]) -> None:
        self._name = name
        self._handle = handle

    async def card(self) -> ModelBody:
        return await self._ask(self._handle.card.remote())

    async def predict(self, request: PredictRequest) -> PredictBody:
        return await self._ask(self._handle.predict.remote(request))

    async def explain(self, request: ExplainRequest) -> ExplainBody:
        return await self._ask(self._handle.explain.remote(request))

    async def _ask(self, response: Awaitable[T | Problem]) -> T:
        try:
            answer = await response
        except BackPressureError as error:
            raise CapacityError(
                f"the queue of model {self._name!r} is full", retry_after_s=UNAVAILABLE_RETRY_S
            ) from error
        except (DeploymentUnavailableError, RayActorError) as error:
            raise ModelUnavailableError(f"no replica of model {self._name!r} answers") from error
        if isinstance(answer, Problem):
            raise ProblemError(answer)
        return answer


class Ingress:
    """The routes in a replica, with a handle per model."""

    def __init__(
        self, models: Mapping[str, DeploymentHandle[Any]], uploads: Uploads, budget: Budget
    ) -> None:
        self._service = Service(
            models={name: RemoteClassifier(name, handle) for name, handle in models.items()},
            uploads=uploads,
            budget=budget,
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        return build_ingress(self._service)


def build_app(config: ServiceConfig) -> Application:
    """Bind one deployment per model and the ingress before them; what ``service.yaml`` names."""
    drain_s = config.budget.max_seconds + GRACE_S
    models = {
        name: _classifier(name, model, config, drain_s) for name, model in config.models.items()
    }
    deploy = serve.deployment(
        num_replicas=config.ingress_replicas,
        max_ongoing_requests=INGRESS_ONGOING,
        max_queued_requests=INGRESS_ONGOING,
        backpressure_config={"status_code": 429, "retry_after_s": config.queue.retry_after_s},
        graceful_shutdown_timeout_s=drain_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": 0},
    )
    return deploy(serve.ingress()(Ingress)).bind(models, config.uploads, config.budget)


def _classifier(
    name: str, model: ModelSettings, config: ServiceConfig, drain_s: float
) -> Application:
    queue = config.queue
    deploy = serve.deployment(
        name=f"classifier-{name}",
        num_replicas=model.replicas,
        # The replica counts its places itself; Serve's bound only keeps its inbox finite.
        max_ongoing_requests=2 * (queue.running + queue.waiting + queue.predicts),
        max_queued_requests=queue.running + queue.waiting + queue.predicts,
        graceful_shutdown_timeout_s=drain_s,
        max_constructor_retry_count=STARTS,
        ray_actor_options={"num_cpus": model.cpus, "num_gpus": model.gpus},
    )
    return deploy(ClassifierReplica).bind(name, model, queue, config.uploads)
