"""``/healthz`` and ``/readyz``."""

import asyncio

from fastapi import APIRouter

from xaiserve.errors import ModelUnavailableError
from xaiserve.serve.bodies.lists import HealthBody, ReadyBody
from xaiserve.serve.problems import PROBLEMS
from xaiserve.serve.service import Service


def health(service: Service) -> APIRouter:
    """Route what load balancers ask."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> HealthBody:
        """Say that the service runs."""
        return HealthBody()

    @router.get("/readyz", responses={503: PROBLEMS[503]})
    async def readyz() -> ReadyBody:
        """Say that every model answers, or which does not."""
        await all_ready(service)
        return ReadyBody(models=list(service.models))

    return router


async def all_ready(service: Service) -> None:
    """Ask every model that has a replica in any case.

    Raises
    ------
    ModelUnavailableError
        Some do not answer; the sentence says which.
    """
    names = [name for name in service.models if name not in service.may_sleep]
    cards = await asyncio.gather(*map(service.card, names), return_exceptions=True)
    absent = [
        name for name, card in zip(names, cards, strict=True) if isinstance(card, BaseException)
    ]
    if absent:
        raise ModelUnavailableError(f"not ready: {', '.join(absent)}")
