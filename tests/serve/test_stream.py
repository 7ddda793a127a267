import asyncio
import gc
import json
from collections.abc import AsyncGenerator
from contextlib import suppress

import httpx
import pytest

from tests.serve.conftest import QUEUE, Toy
from tests.serve.test_classifier_server import LONG, Gate, explain, serve, until_in_flight
from tests.serve.test_explain import ASKED, ask
from xaiserve.errors import ModelUnavailableError
from xaiserve.perturb.case import Case
from xaiserve.serve.bodies.told import FoundBody, ProgressBody, Told
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.replicas.telling import Telling
from xaiserve.serve.routes.event_stream import event_stream

EVENTS = {"accept": "text/event-stream"}


def events(text: str) -> list[tuple[str, dict]]:
    """Read server-sent events, by the letter of the HTML standard where we use it."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def stream(client: httpx.AsyncClient, png: bytes, **options: str) -> httpx.Response:
    return await client.post(
        "/v1/explain", params={**ASKED, **options}, files={"image": ("a.png", png)}, headers=EVENTS
    )


def without_times(body: dict) -> dict:
    timed = {"wall_seconds", "device_seconds", "waited_seconds", "batches"}
    return body | {"cost": {key: body["cost"][key] for key in body["cost"].keys() - timed}}


async def test_the_last_event_is_the_answer_that_comes_without_a_stream(
    client: httpx.AsyncClient, toy: Toy
):
    answer = await stream(client, toy.png, seed="7")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    told = events(answer.text)
    assert [name for name, _ in told].count("final") == 1
    assert without_times(told[-1][1]) == without_times(await ask(client, toy.png, seed="7"))


async def test_each_set_is_told_when_the_plan_announces_it(client: httpx.AsyncClient, toy: Toy):
    told = events((await stream(client, toy.png)).text)

    found = [body for name, body in told if name == "explanation"]
    final = told[-1][1]["explanations"]
    assert [body["index"] for body in found] == list(range(len(found)))
    announced = [body["explanation"]["mask"] for body in found]
    assert {one["mask"]["counts"] for one in final} & {mask["counts"] for mask in announced}
    assert "selected" not in found[0]["explanation"]


async def test_progress_tells_inputs_and_the_budget(client: httpx.AsyncClient, toy: Toy):
    told = events((await stream(client, toy.png, max_inputs="4000", max_seconds="9")).text)

    name, first = told[0]
    assert name == "progress"
    assert (first["max_inputs"], first["explanations"]) == (4000, 0)
    assert 0 < first["max_seconds"] <= 9
    assert first["model_inputs"] <= told[-1][1]["cost"]["model_inputs"]


async def test_the_query_asks_for_events_as_the_header_does(client: httpx.AsyncClient, toy: Toy):
    answer = await client.post(
        "/v1/explain", params={**ASKED, "stream": "true"}, files={"image": toy.png}
    )
    assert events(answer.text)[-1][0] == "final"


async def test_what_fails_at_once_has_its_own_status(client: httpx.AsyncClient):
    answer = await stream(client, b"no picture")

    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"


async def failing(told: list[Told], wait: asyncio.Event) -> AsyncGenerator[Told, None]:
    for each in told:
        yield each
    await wait.wait()
    raise ModelUnavailableError("the replica has gone")


PROGRESS = ProgressBody(
    phase=None,
    done=None,
    total=None,
    explanations=0,
    model_inputs=1,
    max_inputs=None,
    seconds=0.5,
    max_seconds=2.0,
)


async def test_a_failure_in_the_middle_is_a_problem_and_silence_a_comment():
    fail = asyncio.Event()
    response = await event_stream(failing([PROGRESS], fail), beat_s=0.001)
    pieces = []
    async for piece in response.body_iterator:
        pieces.append(piece)
        if piece.startswith(":"):
            fail.set()

    told = events("".join(pieces))
    assert [name for name, _ in told] == ["progress", "problem"]
    assert told[1][1]["status"] == 503
    assert told[1][1]["detail"] == "the replica has gone"
    assert ": still at work\n\n" in pieces


async def test_events_that_nobody_reads_any_more_are_closed():
    closed = asyncio.Event()

    async def told() -> AsyncGenerator[Told, None]:
        try:
            yield PROGRESS
            await asyncio.Event().wait()
        finally:
            closed.set()

    response = await event_stream(told())

    async def send(message: dict) -> None:
        if message.get("body"):
            raise OSError

    async def receive() -> dict:
        return await asyncio.Event().wait()

    with pytest.raises(Exception, match=r".*"):
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)
    assert closed.is_set()


@pytest.mark.parametrize("version", ["2.3", "2.4"])
async def test_a_client_that_has_gone_before_the_first_event_leaves_nothing_behind(version: str):
    closed = asyncio.Event()

    async def told() -> AsyncGenerator[Told, None]:
        try:
            await asyncio.Event().wait()
            yield PROGRESS
        finally:
            closed.set()

    response = await event_stream(told(), refused_s=0.001)

    async def send(_: dict) -> None:
        raise OSError

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    with suppress(Exception):
        await response({"type": "http", "asgi": {"spec_version": version}}, receive, send)
    assert closed.is_set()


async def test_a_client_that_goes_while_the_first_event_is_waited_for_leaves_nothing_behind():
    begun, closed = asyncio.Event(), asyncio.Event()

    async def told() -> AsyncGenerator[Told, None]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield PROGRESS
        finally:
            closed.set()

    waiting = asyncio.ensure_future(event_stream(told(), refused_s=30))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert closed.is_set()


async def test_a_stream_that_is_closed_stops_its_plan_and_frees_its_place(
    toy: Toy, server: ClassifierServer
):
    for _ in range(QUEUE.running + QUEUE.waiting + 1):
        told = server.stream(explain(toy.png, explainer=LONG))
        assert isinstance(await anext(told), ProgressBody)
        await told.aclose()
        await until_in_flight(server, 0)

    assert (await server.explain(explain(toy.png))).complete


async def test_a_stream_that_is_cancelled_while_it_waits_frees_its_place():
    gate = Gate()
    server = serve(gate.classifier())
    told = server.stream(explain(gate.toy.png))
    waiting = asyncio.ensure_future(anext(told))
    await asyncio.to_thread(gate.asked.wait, 10)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.open.set()
    await until_in_flight(server, 0)
    server.close()


async def test_progress_comes_again_while_nothing_is_found(toy: Toy, server: ClassifierServer):
    telling = Telling(every_s=0.001)
    answer = asyncio.ensure_future(server._explain(explain(toy.png, explainer=LONG), telling))
    told = telling.until(answer)
    seen = []
    async for each in told:
        seen.append(each)
        if sum(isinstance(each, ProgressBody) for each in seen) > 3:
            break
    await told.aclose()
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)

    inputs = [each.model_inputs for each in seen if isinstance(each, ProgressBody)]
    assert inputs == sorted(inputs)
    assert not any(isinstance(each, FoundBody) and each.explanation is None for each in seen)


def cases() -> list[Case]:
    return [each for each in gc.get_objects() if type(each) is Case]


@pytest.mark.parametrize("ending", ["answered", "closed", "cancelled"])
async def test_nothing_of_a_request_waits_for_the_collector_of_cycles(
    toy: Toy, server: ClassifierServer, ending: str
):
    async def end() -> None:
        if ending == "answered":
            [_ async for _ in server.stream(explain(toy.png))]
        elif ending == "closed":
            told = server.stream(explain(toy.png, explainer=LONG))
            await anext(told)
            await told.aclose()
        else:
            task = asyncio.ensure_future(server.explain(explain(toy.png, explainer=LONG)))
            await until_in_flight(server, 1)
            task.cancel()
            await asyncio.wait({task})
        await until_in_flight(server, 0)

    await end()
    gc.collect()
    kept = cases()  # what other tests of this process hold on to
    gc.disable()
    try:
        await end()
        async with asyncio.timeout(10):
            # The engine's threads let go of it a moment after they have left it.
            while len(cases()) > len(kept):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
