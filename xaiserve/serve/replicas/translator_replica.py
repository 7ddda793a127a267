"""A replica that translates, and the handle by which a classifier's replica asks it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from xaiserve.errors import CapacityError, ModelUnavailableError
from xaiserve.gan.translator import load_translator
from xaiserve.serve.model_settings import TranslatorSettings
from xaiserve.serve.observing.logs import configure_logs
from xaiserve.serve.problem_details import UNAVAILABLE_RETRY_S
from xaiserve.serve.replicas.translator import (
    Translated,
    TranslateRequest,
    TranslatorCard,
    TranslatorServer,
)
from xaiserve.serve.settings import Logs

T = TypeVar("T")


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
