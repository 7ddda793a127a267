"""The service on Ray Serve: what is deployed, and how much of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.deployment import Application
from ray.serve.handle import DeploymentHandle

from xaiserve.dispatch.ray_meter import RayMeter
from xaiserve.serve.access.guard import Guard
from xaiserve.serve.config import ServiceConfig
from xaiserve.serve.incoming.fetching import Fetcher
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.kept.explanations import GRACE_S
from xaiserve.serve.kept.keeping import keep
from xaiserve.serve.model_settings import ModelSettings, OnDemand, TranslatorSettings
from xaiserve.serve.observing.logs import configure_logs
from xaiserve.serve.replicas.classifier_replica import ClassifierReplica
from xaiserve.serve.replicas.handles import RemoteClassifier
from xaiserve.serve.replicas.on_demand_replica import OnDemandReplica
from xaiserve.serve.replicas.scaling import scale_options
from xaiserve.serve.replicas.translator_replica import TranslatorReplica
from xaiserve.serve.service import Service

INGRESS_ONGOING = 64
"""Requests in one ingress replica: it only waits."""

ONGOING_BATCHES = 4
"""Batches of pictures in one translator replica: one is drawn, the others are gathered."""

STARTS = 3
"""How often a replica may fail to start before its deployment has failed."""


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
            jobs=Jobs(config.jobs, config.all_models),
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
