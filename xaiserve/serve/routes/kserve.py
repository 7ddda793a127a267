"""``/v1/models/NAME:predict`` and ``:explain``, KServe's first protocol."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Request

from xaiserve.explainers.registry import make_explainer
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.incoming.json_body import json_request, parsed, read_body
from xaiserve.serve.incoming.query import contrast_of, refuse_unknown
from xaiserve.serve.incoming.requests import ExplainRequest, ScoreRequest, Upload
from xaiserve.serve.kept.explanations import GRACE_S
from xaiserve.serve.problems import PROBLEMS
from xaiserve.serve.protocols.instances import files_of, pictures_of
from xaiserve.serve.protocols.kserve_bodies import (
    ExplainInstancesBody,
    ExplainParametersBody,
    ExplanationsBody,
    PredictInstancesBody,
    PredictionsBody,
)
from xaiserve.serve.service import Service, within

MAX_EXPLAINED: Final = 16
"""Pictures in one explain request: they share its connection, and the client waits for the last."""

AT_ONCE: Final = 4
"""Of these, how many are explained at a time: one request must not take every place."""


def kserve(service: Service) -> APIRouter:
    """Route the protocol's questions; its lists are in `routes.lists`."""
    router = APIRouter(responses=PROBLEMS)

    @router.post("/models/{name}:predict", openapi_extra=json_request(PredictInstancesBody))
    async def predict(request: Request, name: str) -> PredictionsBody:
        """Score pictures together (KServe v1)."""
        port = service.model(name)
        refuse_unknown(request, ())
        body = await _read(request, service, PredictInstancesBody)
        pictures = await asyncio.to_thread(pictures_of, body.instances, service.uploads.max_rows)
        scored = await within(GRACE_S, port.score(ScoreRequest(pictures=pictures)), name)
        return PredictionsBody(predictions=scored.scores.tolist())

    @router.post("/models/{name}:explain", openapi_extra=json_request(ExplainInstancesBody))
    async def explain(request: Request, name: str) -> ExplanationsBody:
        """Explain pictures (KServe v1)."""
        service.model(name)
        refuse_unknown(request, ())
        body = await _read(request, service, ExplainInstancesBody)
        uploads = files_of(body.instances, MAX_EXPLAINED)
        requests = _requests(service, uploads, body.parameters)
        return ExplanationsBody(explanations=await _explained(service, name, requests))

    return router


async def _read(request: Request, service: Service, kind: type[Any]) -> Any:  # Any: of that kind
    return await parsed(await read_body(request, service.uploads.max_json_bytes), kind)


def _requests(
    service: Service, uploads: Sequence[Upload], wished: ExplainParametersBody
) -> list[ExplainRequest]:
    explainer = make_explainer(wished.method, wished.options)
    seconds = wished.max_seconds or service.budget.seconds
    limits = service.limits(wished.max_inputs, seconds)
    return [
        ExplainRequest(
            upload=upload,
            explainer=explainer,
            target=None if wished.target is None else str(wished.target),
            seed=wished.seed,
            limits=limits,
            frame=wished.frame,
            overlay=wished.overlay,
            saliency=wished.saliency,
            contrast=contrast_of(explainer, None, wished.contrast),
        )
        for upload in uploads
    ]


async def _explained(
    service: Service, name: str, requests: Sequence[ExplainRequest]
) -> list[ExplainBody]:
    """Explain a few at a time; the first error ends the others."""
    port, places = service.model(name), asyncio.Semaphore(AT_ONCE)

    async def one(request: ExplainRequest) -> ExplainBody:
        async with places:
            return await service.explanations.explain(name, port, request)

    tasks = [asyncio.create_task(one(request)) for request in requests]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
