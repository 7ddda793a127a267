"""The routes, in plain FastAPI: what is behind them is injected."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse

import xaiserve
from xaiserve.errors import InvalidInputError, ModelUnavailableError, NotFoundError
from xaiserve.explainers.base import Explainer, needs_of
from xaiserve.explainers.registry import EXPLAINERS, make_explainer
from xaiserve.parameters import MAX_SEED
from xaiserve.perturb.ticket import Limits
from xaiserve.report.subject import FrameName
from xaiserve.serve import problems
from xaiserve.serve.config import Budget, Uploads
from xaiserve.serve.documentation import page
from xaiserve.serve.methods import method_body
from xaiserve.serve.requests import (
    ClassifierPort,
    ExplainRequest,
    Offered,
    PredictRequest,
    Upload,
)
from xaiserve.serve.schemas import (
    ExplainBody,
    HealthBody,
    MethodBody,
    MethodsBody,
    ModelBody,
    ModelsBody,
    PredictBody,
    ProblemBody,
    ReadyBody,
)
from xaiserve.serve.uploads import CONTRAST, FIELD, Sent, read_upload, request_body

T = TypeVar("T")

READY_S: Final = 5.0
"""How long a replica may take to say that it is there."""

GRACE_S: Final = 30.0
"""What an answer may take beyond its budget: reading the picture, the last batch, drawing."""

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {  # Any: FastAPI's own type
    status: {"model": ProblemBody, "description": meaning}
    for status, meaning in {
        404: "No model or method of that name",
        413: "Body, side or pixels over a limit",
        415: "Not a picture that is read",
        422: "An option, the target or the picture is wrong",
        429: "Full (with Retry-After), or the budget was spent before anything was found",
        503: "The model is not available (with Retry-After)",
    }.items()
}
_BODY: Final = {"requestBody": request_body(FIELD)}
_TWO_PICTURES: Final = {"requestBody": request_body(FIELD, CONTRAST)}

ModelParam = Annotated[str, Query(description="Name of a served model.")]
RangeParam = Annotated[
    str | None,
    Query(
        alias="range",
        description="LOW,HIGH: what becomes 0 and 1 in 16-bit and float grey pictures.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes need: the models behind them and the limits in front of them."""

    models: Mapping[str, ClassifierPort]
    uploads: Uploads
    budget: Budget

    def model(self, name: str) -> ClassifierPort:
        if name not in self.models:
            raise NotFoundError(f"model {name!r} is not served; known are {', '.join(self.models)}")
        return self.models[name]

    async def upload(
        self, request: Request, value_range: str | None, *, with_contrast: bool = False
    ) -> Sent:
        return await read_upload(
            request,
            max_bytes=self.uploads.max_bytes,
            value_range=_numbers(value_range),
            with_contrast=with_contrast,
        )

    async def card(self, name: str) -> ModelBody:
        return await within(READY_S, self.model(name).card(), name)

    def limits(self, max_inputs: int | None, max_seconds: float) -> Limits:
        """Check what was asked for against the service's bounds."""
        budget = self.budget
        _at_most("max_seconds", max_seconds, budget.max_seconds)
        _at_most("max_inputs", max_inputs, budget.max_inputs)
        return Limits(
            max_inputs=max_inputs or budget.inputs or budget.max_inputs,
            max_seconds=max_seconds,
        )


def build_ingress(service: Service) -> FastAPI:
    """Build the HTTP application."""
    app = FastAPI(
        title="xaiserve",
        version=xaiserve.__version__,
        summary="Explains image classifiers.",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(_questions(service), prefix="/v1")
    app.include_router(_lists(service), prefix="/v1")
    app.include_router(_health(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app


def _questions(service: Service) -> APIRouter:
    router = APIRouter(responses=_PROBLEMS)

    @router.post("/explain", openapi_extra=_TWO_PICTURES)
    async def explain(
        request: Request,
        model: ModelParam,
        method: Annotated[str, Query(description="Name of a method; see /v1/methods.")],
        *,
        target: Annotated[
            str | None,
            Query(description="Class index or label; the class ranked first when absent."),
        ] = None,
        seed: Annotated[int, Query(ge=0, le=MAX_SEED)] = 0,
        max_inputs: Annotated[int | None, Query(ge=1)] = None,
        max_seconds: Annotated[float | None, Query(gt=0, allow_inf_nan=False)] = None,
        frame: Annotated[
            FrameName, Query(description="The pixels of masks and saliency.")
        ] = "model",
        overlay: Annotated[
            bool, Query(description="Send pictures: of the result, and the contrast picture.")
        ] = True,
        saliency: Annotated[bool, Query(description="Send the whole map.")] = False,
        contrast: Annotated[
            Offered | None,
            Query(
                description="What makes the contrast picture, for methods that compare with one: "
                "the model's own when absent, or the picture in the form field of this name."
            ),
        ] = None,
        value_range: RangeParam = None,
    ) -> ExplainBody:
        """Explain one picture. Further query parameters are those of the method."""
        port = service.model(model)
        explainer = _explainer(request, method)
        seconds = max_seconds or service.budget.seconds
        sent = await service.upload(request, value_range, with_contrast=True)
        asked = ExplainRequest(
            upload=sent.image,
            explainer=explainer,
            target=target,
            seed=seed,
            limits=service.limits(max_inputs, seconds),
            frame=frame,
            overlay=overlay,
            saliency=saliency,
            contrast=_contrast(explainer, sent.contrast, contrast),
        )
        return await within(seconds + GRACE_S, port.explain(asked), model)

    @router.post("/predict", openapi_extra=_BODY)
    async def predict(
        request: Request,
        model: ModelParam,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 5,
        value_range: RangeParam = None,
    ) -> PredictBody:
        """Score one picture."""
        port = service.model(model)
        _refuse_unknown(request, ())
        sent = await service.upload(request, value_range)
        asked = PredictRequest(upload=sent.image, top=top)
        return await within(GRACE_S, port.predict(asked), model)

    return router


def _lists(service: Service) -> APIRouter:
    router = APIRouter(responses={404: _PROBLEMS[404], 503: _PROBLEMS[503]})

    @router.get("/models")
    async def models() -> ModelsBody:
        """List the models."""
        return ModelsBody(models=list(service.models))

    @router.get("/models/{name}")
    async def model(name: str) -> ModelBody:
        """Describe one model."""
        return await service.card(name)

    @router.get("/methods")
    def methods() -> MethodsBody:
        """List the methods with the JSON Schema of every parameter."""
        return MethodsBody(methods=[method_body(name) for name in EXPLAINERS])

    @router.get("/methods/{name}")
    def method(name: str) -> MethodBody:
        """Describe one method."""
        return method_body(name)

    return router


def _health(service: Service) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> HealthBody:
        """Say that the service runs."""
        return HealthBody()

    @router.get("/readyz", responses={503: _PROBLEMS[503]})
    async def readyz() -> ReadyBody:
        """Say that every model answers, or which does not."""
        cards = await asyncio.gather(*map(service.card, service.models), return_exceptions=True)
        absent = [
            name
            for name, card in zip(service.models, cards, strict=True)
            if isinstance(card, BaseException)
        ]
        if absent:
            raise ModelUnavailableError(f"not ready: {', '.join(absent)}")
        return ReadyBody(models=list(service.models))

    return router


async def within(seconds: float, answer: Awaitable[T], model: str) -> T:
    """Wait for a replica, and no longer than that.

    Raises
    ------
    ModelUnavailableError
        No answer came.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ModelUnavailableError(f"model {model!r} did not answer in {seconds:g} s") from None


def _explainer(request: Request, method: str) -> Explainer:
    options = _others(request)
    known = method_body(method).parameters["properties"]
    _refuse_unknown(request, tuple(known))
    return make_explainer(method, options)


def _contrast(
    explainer: Explainer, sent: Upload | None, asked: Offered | None
) -> Upload | Offered | None:
    """Refuse two contrast pictures, and one for a method that has no use for it."""
    if sent is not None and asked is not None:
        raise InvalidInputError(
            f"contrast must be sent in the form or asked for, got both: a file and {asked}"
        )
    wished = sent or asked
    if wished is not None and "contrast" not in needs_of(explainer):
        raise InvalidInputError(
            f"contrast is for methods that compare the image with a contrast picture, got method "
            f"{explainer.name}"
        )
    return wished


def _own(request: Request) -> set[str]:
    """List the query parameters that the route itself declares."""
    declared = request.scope["route"].dependant.query_params
    return {param.alias for param in declared}


def _others(request: Request) -> dict[str, str]:
    own = _own(request)
    return {key: text for key, text in request.query_params.items() if key not in own}


def _refuse_unknown(request: Request, options: tuple[str, ...]) -> None:
    """Refuse what is misspelt, and what is said twice: one of the two would be dropped."""
    known = [*sorted(_own(request)), *options]
    given = [key for key, _ in request.query_params.multi_items()]
    for key in given:
        if key not in known:
            raise InvalidInputError(f"{key} is not a parameter; known are {', '.join(known)}")
        if given.count(key) > 1:
            raise InvalidInputError(f"{key} must be given once, got {given.count(key)} values")


def _numbers(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InvalidInputError(f"range must be two numbers LOW,HIGH, got {text!r}") from None
    return low, high


def _at_most(name: str, asked: float | None, bound: float | None) -> None:
    if asked is not None and bound is not None and asked > bound:
        raise InvalidInputError(f"{name} must be at most {bound:g} here, got {asked:g}")
