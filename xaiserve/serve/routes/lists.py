"""``/v1/models`` and ``/v1/methods``."""

from fastapi import APIRouter

from xaiserve.explainers.registry import EXPLAINERS
from xaiserve.serve.bodies.lists import MethodBody, MethodsBody, ModelBody, ModelsBody
from xaiserve.serve.bodies.methods import method_body
from xaiserve.serve.problems import PROBLEMS
from xaiserve.serve.service import Service


def lists(service: Service) -> APIRouter:
    """Route what there is: models and methods."""
    router = APIRouter(responses={404: PROBLEMS[404], 503: PROBLEMS[503]})

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
