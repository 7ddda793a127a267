"""``/v1/explain`` and ``/v1/predict``."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from xaiserve.parameters import MAX_SEED
from xaiserve.report.subject import FrameName
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.incoming.query import (
    ModelParam,
    RangeParam,
    contrast_of,
    explainer_of,
    refuse_unknown,
)
from xaiserve.serve.incoming.requests import ExplainRequest, Offered, PredictRequest
from xaiserve.serve.incoming.uploads import CONTRAST, FIELD, request_body
from xaiserve.serve.kept.explanations import GRACE_S
from xaiserve.serve.problems import PROBLEMS
from xaiserve.serve.routes.answering import answer, mode_of
from xaiserve.serve.routes.event_stream import CONTENT
from xaiserve.serve.routes.results import LATER
from xaiserve.serve.service import Service, within

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {  # Any: FastAPI's own type
    200: {"content": CONTENT, "description": "The answer, or events that tell of it"},
    **LATER,
}
_BODY: Final = {"requestBody": request_body(FIELD)}
_TWO_PICTURES: Final = {"requestBody": request_body(FIELD, CONTRAST)}


def questions(service: Service) -> APIRouter:
    """Route ``explain`` and ``predict``."""
    router = APIRouter(responses=PROBLEMS)

    @router.post(
        "/explain", openapi_extra=_TWO_PICTURES, response_model=ExplainBody, responses=_ANSWERS
    )
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
        stream: Annotated[
            bool,
            Query(description="Answer with server-sent events, as `Accept: text/event-stream`."),
        ] = False,
        deferred: Annotated[
            bool,
            Query(
                alias="async",
                description="Answer 202 with the place where the result will be, as a budget does "
                "that is more than a request may wait for.",
            ),
        ] = False,
        value_range: RangeParam = None,
    ) -> ExplainBody | Response:
        """Explain one picture. Further query parameters are those of the method."""
        service.model(model)  # refused before the picture is read
        explainer = explainer_of(request, method)
        seconds = max_seconds or service.budget.seconds
        mode = mode_of(request, service, stream=stream, deferred=deferred, seconds=seconds)
        sent = await service.upload(request, value_range, with_contrast=True)
        asked = ExplainRequest(
            upload=sent.image,
            explainer=explainer,
            target=target,
            seed=seed,
            limits=service.limits(max_inputs, seconds, later=mode == "later"),
            frame=frame,
            overlay=overlay,
            saliency=saliency,
            contrast=contrast_of(explainer, sent.contrast, contrast),
        )
        return await answer(service, request, model, asked, mode)

    @router.post("/predict", openapi_extra=_BODY)
    async def predict(
        request: Request,
        model: ModelParam,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to name.")] = 5,
        value_range: RangeParam = None,
    ) -> PredictBody:
        """Score one picture."""
        port = service.model(model)
        refuse_unknown(request, ())
        sent = await service.upload(request, value_range)
        asked = PredictRequest(upload=sent.image, top=top)
        return await within(GRACE_S, port.predict(asked), model)

    return router
