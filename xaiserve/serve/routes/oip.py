"""``/v2``: the Open Inference Protocol, version 2, which Triton, KServe and MLServer speak."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response

import xaiserve
from xaiserve.errors import InvalidInputError, NotFoundError
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.incoming.json_body import json_request, parsed, read_body
from xaiserve.serve.incoming.requests import ScoreRequest
from xaiserve.serve.kept.explanations import GRACE_S
from xaiserve.serve.problem_details import OIP_PREFIX
from xaiserve.serve.protocols.oip_answers import Wish, answer_of, wishes_of
from xaiserve.serve.protocols.oip_bodies import (
    ErrorBody,
    InferBody,
    InferRequestBody,
    LiveBody,
    ModelMetadataBody,
    ModelReadyBody,
    ServerMetadataBody,
    ServerReadyBody,
    TensorBody,
)
from xaiserve.serve.protocols.tensors import INPUT, JSON_LENGTH, OUTPUT, pictures_of, split
from xaiserve.serve.routes.health import all_ready
from xaiserve.serve.service import Service, within

EXTENSIONS: Final = ["binary_tensor_data", "classification"]
PLATFORM: Final = "xaiserve"

_VERSION_DIGITS: Final = 12

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {  # Any: FastAPI's own type
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in {
        400: "The request, a tensor or a picture is wrong",
        404: "No model of that name or version",
        413: "The body, a picture or the number of pictures is over a limit",
        415: "A file that is no picture we read, or a compressed body",
        429: "Full (with Retry-After)",
        503: "The model is not available (with Retry-After)",
    }.items()
}
_INFER_BODY: Final = json_request(
    InferRequestBody,
    {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
)

JsonLength = Annotated[
    str | None,
    Header(alias=JSON_LENGTH, description="Bytes of JSON before binary tensors, if there are any."),
]


def version_of(digest: str) -> str:
    """Name a model's version: the digest says what it is, and its beginning is enough."""
    return digest[:_VERSION_DIGITS]


def oip(service: Service) -> APIRouter:
    """Route the protocol."""

    async def card(name: str) -> ModelBody:
        return await service.card(name)

    async def card_of_version(name: str, version: str) -> ModelBody:
        found = await service.card(name)
        _check_version(name, found.digest, version)
        return found

    async def any_version() -> None:
        """Take whatever version there is."""

    async def this_version(version: str) -> str:
        return version

    router = APIRouter()
    model = f"{OIP_PREFIX}/models/{{name}}"
    versioned = model + "/versions/{version}"
    router.include_router(_about_server(service))
    for prefix, of, version in (
        (model, card, any_version),
        (versioned, card_of_version, this_version),
    ):
        router.include_router(_about_model(service, prefix, of))
        router.include_router(_inference(service, prefix, version))
    return router


def _check_version(name: str, digest: str, version: str | None) -> None:
    known = version_of(digest)
    if version not in {None, known}:
        raise NotFoundError(f"model {name!r} has the version {known}, got {version!r:.80}")


def _about_server(service: Service) -> APIRouter:
    router = APIRouter(prefix=OIP_PREFIX)

    @router.get("")
    async def server() -> ServerMetadataBody:
        """Describe the server."""
        return ServerMetadataBody(
            name="xaiserve", version=xaiserve.__version__, extensions=EXTENSIONS
        )

    @router.get("/health/live")
    async def live() -> LiveBody:
        """Say that the service runs."""
        return LiveBody()

    @router.get("/health/ready", responses={503: _ERRORS[503]})
    async def ready() -> ServerReadyBody:
        """Say that every model answers, or which does not."""
        await all_ready(service)
        return ServerReadyBody()

    return router


def _about_model(
    service: Service, prefix: str, card: Callable[..., Awaitable[ModelBody]]
) -> APIRouter:
    """Route what the protocol has of one model; ``card`` depends on what the path names."""
    router = APIRouter(prefix=prefix, responses={404: _ERRORS[404], 503: _ERRORS[503]})

    Card = Annotated[ModelBody, Depends(card)]  # noqa: N806 -- a type

    @router.get("")
    async def metadata(name: str, model: Card) -> ModelMetadataBody:
        """Describe what a model takes and gives."""
        return _metadata(name, model, service.uploads.max_rows)

    @router.get("/ready")
    async def ready(name: str, _: Card) -> ModelReadyBody:
        """Say that a model answers."""
        return ModelReadyBody(name=name)

    return router


def _inference(
    service: Service, prefix: str, version: Callable[..., Awaitable[str | None]]
) -> APIRouter:
    """Route ``infer``: one way to the replica, the labels apart."""
    router = APIRouter(prefix=prefix, responses=_ERRORS)

    Version = Annotated[str | None, Depends(version)]  # noqa: N806 -- a type

    @router.post(
        "/infer",
        openapi_extra=_INFER_BODY,
        responses={200: {"model": InferBody}},
        response_class=Response,
    )
    async def infer(
        request: Request, name: str, version: Version, json_length: JsonLength = None
    ) -> Response:
        """Score pictures together; answers in JSON, or in binary where an output is wished so."""
        port = service.model(name)
        asked, wishes, body = await _asked(request, service, json_length)
        scored = await within(GRACE_S, port.score(asked), name)
        _check_version(name, scored.model_digest, version)
        named = any(wish.classes for wish in wishes)
        return answer_of(
            scored.scores,
            wishes,
            (await service.card(name)).labels if named else (),
            {
                "model_name": name,
                "model_version": version_of(scored.model_digest),
                **({} if body.id is None else {"id": body.id}),
            },
        )

    return router


async def _asked(
    request: Request, service: Service, json_length: str | None
) -> tuple[ScoreRequest, list[Wish], InferRequestBody]:
    uploads = service.uploads
    limit = uploads.max_json_bytes if json_length is None else uploads.max_tensor_bytes
    head, binary = split(await read_body(request, limit), json_length)
    body = await parsed(head, InferRequestBody)
    alone = body.parameters.get("alone", False)
    if not isinstance(alone, bool):
        raise InvalidInputError(f"parameter alone must be true or false, got {alone!r:.80}")
    pictures = await asyncio.to_thread(pictures_of, body.inputs[0], binary, uploads.max_rows)
    return ScoreRequest(pictures=pictures, alone=alone), wishes_of(body), body


def _metadata(name: str, model: ModelBody, max_rows: int) -> ModelMetadataBody:
    return ModelMetadataBody(
        name=name,
        versions=[version_of(model.digest)],
        platform=PLATFORM,
        inputs=[
            TensorBody(
                name=INPUT,
                datatype="FP32",
                shape=[-1, model.channels, model.height, model.width],
            )
        ],
        outputs=[TensorBody(name=OUTPUT, datatype="FP32", shape=[-1, len(model.labels)])],
        parameters={
            "digest": model.digest,
            "labels": model.labels,
            "max_batch_size": max_rows,
            "specification": model.specification,
        },
    )
