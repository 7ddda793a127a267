"""The client for programs on an event loop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import TypeVar, Unpack

import httpx

from xaiserve.backoff import Backoff
from xaiserve.client.calls import (
    Wish,
    answered,
    explain_call,
    forget_call,
    methods_call,
    model_call,
    models_call,
    predict_call,
    result_call,
    results_call,
    stream_call,
    submit_call,
)
from xaiserve.client.events import Event, EventReader
from xaiserve.client.exchanging import (
    CONNECT_S,
    PATIENCE_S,
    TIMEOUT_S,
    Call,
    Flow,
    Reply,
    Step,
    Wait,
    checked_address,
    cut_off_is_told,
    exchange,
    opened,
    request_of,
)
from xaiserve.client.jobs import (
    Job,
    JobWish,
    cancel_job_call,
    ended_job,
    job_call,
    job_logs_call,
    jobs_call,
    submit_job_call,
)
from xaiserve.client.pictures import Picture
from xaiserve.client.results import Explanation, Method, Model, Pending, Prediction

T = TypeVar("T")


class AsyncClient:
    """Ask a service; a context manager, of one event loop.

    Parameters
    ----------
    url
        Of the service, such as ``http://localhost:8000``.
    api_key
        Sent as ``Authorization: Bearer``.
    timeout_s
        How long one answer may take.
    patience_s
        How long one question is asked again while the service is away or full.
    transport
        What takes the place of connections, in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._patience_s = patience_s
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=checked_address(url),
            headers={} if api_key is None else {"authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_S),
            transport=transport,
        )

    async def __aenter__(self) -> "AsyncClient":  # noqa: PYI034 -- run-time shape checks refuse Self
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> tuple[str, ...]:
        """List the models by name."""
        return await self._asked(models_call())

    async def model(self, name: str) -> Model:
        """Describe one model."""
        return await self._asked(model_call(name))

    async def methods(self) -> tuple[Method, ...]:
        """List the methods with the JSON Schema of their parameters."""
        return await self._asked(methods_call())

    async def predict(self, picture: Picture, *, model: str, top: int = 5) -> Prediction:
        """Score a picture."""
        return await self._asked(predict_call(picture, model, top))

    async def explain(self, picture: Picture, **wish: Unpack[Wish]) -> Explanation:
        """Explain a picture; see `Wish`. Where the service puts it off, wait for it.

        Raises
        ------
        XaiServeError
            What the service refuses, or cannot do.
        """
        return await self._driven(answered(explain_call(picture, wish), self._patience_s))

    async def submit(self, picture: Picture, **wish: Unpack[Wish]) -> Explanation | Pending:
        """Ask for an explanation that is fetched later; one that is known already comes at once."""
        return await self._asked(submit_call(picture, wish))

    async def fetch(self, name: str) -> Explanation | Pending:
        """Fetch the result of this id, or see how far it is; what failed is raised."""
        return await self._asked(result_call(name))

    async def wait(self, name: str) -> Explanation:
        """Wait for the result of this id."""
        return await self._driven(answered(result_call(name), self._patience_s))

    async def results(self, limit: int = 50) -> tuple[Pending, ...]:
        """List what was asked for with this key and is fetched later, newest first."""
        return await self._asked(results_call(limit))

    async def forget(self, name: str) -> None:
        """Cancel a result, or remove its answer."""
        await self._asked(forget_call(name))

    async def stream(self, picture: Picture, **wish: Unpack[Wish]) -> AsyncGenerator[Event, None]:
        """Explain a picture and yield its progress and parts; the last is the `Explanation`."""
        call, reader = stream_call(picture, wish), EventReader()
        reply = await self._driven(opened(call, self._patience_s), stream=True)
        try:
            with cut_off_is_told():
                async for text in reply.aiter_lines():
                    event = reader.line(text)
                    if event is not None:
                        yield event
                reader.end()
        finally:
            await reply.aclose()

    async def submit_job(self, **wish: Unpack[JobWish]) -> Job:
        """Start a job over a data set; see `JobWish`.

        The same job again is that one while it runs, and goes on with it after any end.
        """
        return await self._asked(submit_job_call(wish))

    async def job(self, name: str) -> Job:
        """Say how far the job of this id has come."""
        return await self._asked(job_call(name))

    async def jobs(self) -> tuple[Job, ...]:
        """List the jobs, oldest first."""
        return await self._asked(jobs_call())

    async def job_logs(self, name: str) -> str:
        """Return what a job has written."""
        return await self._asked(job_logs_call(name))

    async def wait_for_job(self, name: str, tell: Callable[[Job], object] | None = None) -> Job:
        """Wait until a job has ended, well or not; ``tell`` hears of it meanwhile."""
        return await self._driven(ended_job(name, self._patience_s, tell))

    async def cancel_job(self, name: str) -> Job:
        """End a job; what it has published stays."""
        return await self._asked(cancel_job_call(name))

    async def _asked(self, call: Call[T]) -> T:
        return await self._driven(exchange(call, Backoff(self._patience_s)))

    async def _driven(self, flow: Flow[T], *, stream: bool = False) -> T:
        try:
            step = next(flow)
            while True:
                step = flow.send(await self._replied(step, stream=stream))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _replied(self, step: Step, *, stream: bool) -> Reply:
        if isinstance(step, Wait):
            await self._sleep(step.seconds)
            return None
        request = request_of(step.call, self._http.build_request)
        try:
            reply = await self._http.send(request, stream=stream)
            if stream and not reply.is_success:
                await reply.aread()
                await reply.aclose()
        except httpx.TransportError as error:
            return error
        return reply
