"""The client against the real routes, and against a transport that fails as told."""

import io
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch
from PIL import Image

from tests.serve.conftest import BUDGET, UPLOADS, Toy, make_toy
from tests.serve.live import listening
from xaiserve.api import explain, load_case
from xaiserve.client import AsyncClient, Client, Explanation, Part, Pending, Progress, ServiceError
from xaiserve.errors import (
    CapacityError,
    InvalidInputError,
    KeyLimitError,
    ModelUnavailableError,
    NotFoundError,
    QueryBudgetError,
    UnsupportedMediaError,
)
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.serve.config import Queue
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service

SMALL = {"iterations": 2, "spotlights": 4, "chunk": 2}


@pytest.fixture(scope="module")
def toy() -> Toy:
    return make_toy()


@pytest.fixture(scope="module")
def url(toy: Toy) -> Iterator[str]:
    server = ClassifierServer(
        toy.classifier, queue=Queue(), limits=UPLOADS.limits, draw=lambda *_, **__: b"drawn"
    )
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    with listening(build_ingress(service)) as found:
        yield found
    server.close()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as made:
        yield made


@pytest_asyncio.fixture
async def waiting(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url) as made:
        yield made


def check_explanation(found: Explanation, toy: Toy) -> None:
    case = load_case(toy.png, toy.classifier)
    (here,) = explain("multirex", toy.classifier, [case], seed=7, options=SMALL)
    assert isinstance(here, MultiRexExplanation)
    assert found.saliency is not None
    assert np.array_equal(found.saliency.values, here.saliency.numpy())
    assert len(found.explanations) == len(here.explanations) > 0
    for told, known in zip(found.explanations, here.explanations, strict=True):
        assert told.mask.dtype == bool
        assert torch.equal(torch.from_numpy(told.mask), known.mask)
    assert found.selected == tuple(here.selected)
    assert found.overlays == {"overlay": b"drawn"}
    assert (found.target.index, found.target.label) == (1, "evidence")


WISH: Any = {
    "model": "toy",
    "method": "multirex",
    "seed": 7,
    "overlay": True,
    "saliency": True,
    "options": SMALL,
}


def test_masks_and_map_are_those_in_process(client: Client, toy: Toy):
    check_explanation(client.explain(toy.png, **WISH), toy)


async def test_the_asynchronous_client_gets_the_same(waiting: AsyncClient, toy: Toy):
    check_explanation(await waiting.explain(toy.png, **WISH), toy)


def test_events_end_with_the_explanation(client: Client, toy: Toy):
    *before, last = client.stream(toy.png, **WISH)

    assert isinstance(last, Explanation)
    check_explanation(last, toy)
    assert {type(each) for each in before} <= {Progress, Part}
    parts = [each for each in before if isinstance(each, Part)]
    assert all(part.found is not None and part.found.mask.shape == (24, 24) for part in parts)
    assert len(parts) >= len(last.explanations)


async def test_the_asynchronous_client_streams_the_same(waiting: AsyncClient, toy: Toy):
    events = [each async for each in waiting.stream(toy.png, **WISH)]

    assert isinstance(events[-1], Explanation)
    check_explanation(events[-1], toy)


def test_a_picture_may_be_a_path_bytes_an_array_or_pillows(
    client: Client, toy: Toy, tmp_path: Path
):
    path = tmp_path / "a.png"
    path.write_bytes(toy.png)
    image = Image.open(io.BytesIO(toy.png))

    found = [
        client.predict(each, model="toy", top=1).scores
        for each in (path, str(path), toy.png, np.asarray(image), image)
    ]
    assert found == [found[0]] * 5
    assert (found[0][0].index, found[0][0].label) == (1, "evidence")


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ("absent.png", "absent.png"),
        (np.zeros((2, 2, 3)), "uint8.*float64"),
        (np.zeros((2, 2, 4), np.uint8), r"\(2, 2, 4\)"),
        (3, "int"),
    ],
)
def test_what_is_no_picture_is_told_before_anything_is_sent(
    client: Client, picture: Any, words: str
):
    with pytest.raises(InvalidInputError, match=words):
        client.predict(picture, model="toy")


def test_models_and_methods_are_described(client: Client, toy: Toy):
    assert client.models() == ("toy",)
    model = client.model("toy")
    assert (model.digest, model.labels) == (toy.classifier.digest, ("nothing", "evidence"))
    multirex = next(each for each in client.methods() if each.name == "multirex")
    assert "iterations" in multirex.parameters["properties"]


def test_problems_are_errors_of_our_tree(client: Client, toy: Toy):
    with pytest.raises(NotFoundError, match="'other'"):
        client.predict(toy.png, model="other")
    with pytest.raises(UnsupportedMediaError, match="PNG"):
        client.predict(b"no picture", model="toy")
    with pytest.raises(InvalidInputError, match="cell is not a parameter"):
        client.explain(toy.png, model="toy", method="occlusion", options={"cell": 3})
    with pytest.raises(QueryBudgetError):
        client.explain(toy.png, model="toy", method="occlusion", max_inputs=3)
    with pytest.raises(NotFoundError):
        list(client.stream(toy.png, model="other", method="rise"))
    with pytest.raises(InvalidInputError, match=r"seed.*argument"):
        client.explain(toy.png, model="toy", method="rise", seed=1, options={"seed": 1})


class Scripted:
    """Answers as it was told, one after the other, and keeps what was asked."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[httpx.Request] = []
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def client(self, **more: Any) -> Client:
        return Client(
            "http://scripted",
            transport=httpx.MockTransport(self),
            sleep=self.waits.append,
            **more,
        )


MODELS = httpx.Response(200, json={"models": ["a"]})


def test_a_service_that_is_away_or_full_is_asked_again():
    script = Scripted(
        httpx.ConnectError("refused"),
        httpx.Response(429, headers={"Retry-After": "3"}),
        httpx.Response(503),
        MODELS,
    )
    assert script.client().models() == ("a",)
    assert len(script.waits) == 3
    assert script.waits[1] >= 3


def test_a_spent_budget_is_not_spent_again():
    problem = {"type": "urn:xaiserve:problem:budget-spent", "detail": "spent"}
    script = Scripted(httpx.Response(429, json=problem))

    with pytest.raises(QueryBudgetError, match="spent"):
        script.client().models()
    assert script.waits == []


@pytest.mark.parametrize(("kind", "error"), [("full", CapacityError), ("key-limit", KeyLimitError)])
def test_patience_ends_with_what_was_said_last(kind, error):
    problem = {"type": f"urn:xaiserve:problem:{kind}", "detail": "asked enough"}
    with pytest.raises(error, match="asked enough") as raised:
        Scripted(httpx.Response(429, json=problem, headers={"Retry-After": "5"})).client(
            patience_s=0
        ).models()
    assert type(raised.value) is error
    assert raised.value.retry_after_s == 5
    with pytest.raises(ModelUnavailableError, match="ConnectError: refused"):
        Scripted(httpx.ConnectError("refused")).client(patience_s=0).models()


@pytest.mark.parametrize(
    ("reply", "status", "words"),
    [
        (httpx.Response(401, json={"type": "urn:xaiserve:problem:unauthorized"}), 401, "401"),
        (httpx.Response(500, json={"title": "T", "detail": "D", "instance": "urn:1"}), 500, "T: D"),
        (httpx.Response(500, text="<html>"), 500, "answered 500"),
        (httpx.Response(404, json=[1]), 404, "answered 404"),
    ],
)
def test_other_answers_are_a_service_error(reply: httpx.Response, status: int, words: str):
    with pytest.raises(ServiceError, match=words) as raised:
        Scripted(reply).client().models()
    assert raised.value.status == status


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://localhost"])
def test_what_is_no_address_of_http_is_told_at_once(kind: type[Client | AsyncClient], url: str):
    with pytest.raises(InvalidInputError, match=r"url must be http://HOST:PORT .*, got '"):
        kind(url)


def test_the_key_goes_along():
    script = Scripted(MODELS)
    script.client(api_key="k").models()

    assert script.asked[0].headers["authorization"] == "Bearer k"


def pending(state: str = "running") -> httpx.Response:
    body = {"id": "1", "state": state, "url": "/v1/results/1", "model": "m", "method": "rise"}
    return httpx.Response(202, json=body | {"name": "", "accepted": 1.0, "kept_until": 2.0})


def test_an_explanation_that_is_put_off_is_waited_for(client: Client, toy: Toy):
    done = client.explain(toy.png, **WISH)
    script = Scripted(pending(), pending(), httpx.Response(200, json=dict(done.body)))

    found = script.client().explain(toy.png, **WISH)
    assert found.body == done.body
    assert [request.url.path for request in script.asked] == [
        "/v1/explain",
        "/v1/results/1",
        "/v1/results/1",
    ]


def test_a_result_may_be_asked_for_and_fetched_later(toy: Toy):
    listed = httpx.Response(200, json={"results": [pending().json()], "next": None})
    script = Scripted(pending("pending"), pending(), listed, httpx.Response(204))
    client = script.client()

    first = client.submit(toy.png, **WISH)
    assert isinstance(first, Pending)
    assert (first.id, first.state) == ("1", "pending")
    assert isinstance(client.fetch(first.id), Pending)
    assert [each.id for each in client.results()] == ["1"]
    client.forget(first.id)
    assert script.asked[0].url.params["async"] == "true"
    assert script.asked[3].method == "DELETE"


def test_a_stream_that_breaks_off_or_ends_in_a_problem_is_an_error(toy: Toy):
    problem = b'event: problem\ndata: {"type": "urn:xaiserve:problem:model-unavailable", '
    problem += b'"status": 503, "detail": "gone"}\n\n'
    told = Scripted(httpx.Response(200, content=b": still at work\n\n" + problem))

    with pytest.raises(ModelUnavailableError, match="gone"):
        list(told.client().stream(toy.png, **WISH))

    def broken() -> Iterator[bytes]:
        yield b": still at work\n\n"
        raise httpx.ReadError("reset")

    cut = Scripted(httpx.Response(200, content=broken()))
    with pytest.raises(ModelUnavailableError, match="ReadError: reset"):
        list(cut.client().stream(toy.png, **WISH))


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, text="<html>sign in</html>"),
        httpx.Response(200),
        httpx.Response(200, json=["a"]),
        httpx.Response(200, json={"other": 1}),
    ],
)
def test_a_success_that_cannot_be_read_is_a_broken_answer(reply: httpx.Response):
    with pytest.raises(ServiceError, match="broken answer: /v1/models was answered 200") as raised:
        Scripted(reply).client().models()
    assert raised.value.status == 200


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (b": still at work\n\n", "without an explanation"),
        (b"<html>\n", "without an explanation"),
        (b"event: final\ndata: {\n\n", "an event final holds"),
        (b"event: problem\ndata: []\n\n", "an event problem holds"),
    ],
)
async def test_a_stream_without_its_explanation_is_a_broken_answer(
    toy: Toy, events: bytes, words: str
):
    with pytest.raises(ServiceError, match=words):
        list(Scripted(httpx.Response(200, content=events)).client().stream(toy.png, **WISH))
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=events))
    async with AsyncClient("http://scripted", transport=transport) as client:
        with pytest.raises(ServiceError, match=words):
            _ = [each async for each in client.stream(toy.png, **WISH)]


def test_a_name_is_one_part_of_a_path():
    absent = httpx.Response(404, json={"type": "urn:xaiserve:problem:not-found"})
    script = Scripted(*[absent] * 5)
    client = script.client()
    for ask in (client.model, client.fetch, client.forget, client.job, client.job_logs):
        with pytest.raises(NotFoundError):
            ask("a/../b ?x#y%41")
        for unfit in ("", ".", ".."):
            with pytest.raises(InvalidInputError, match="name"):
                ask(unfit)
    part = "a%2F..%2Fb%20%3Fx%23y%2541"
    assert [request.url.raw_path.decode() for request in script.asked] == [
        f"/v1/models/{part}",
        f"/v1/results/{part}",
        f"/v1/results/{part}",
        f"/v1/jobs/{part}",
        f"/v1/jobs/{part}/logs",
    ]


@pytest.mark.parametrize("lost", [httpx.ReadError("reset"), httpx.Response(504)])
def test_a_result_whose_removal_was_not_answered_is_removed(lost: httpx.Response | Exception):
    absent = httpx.Response(404, json={"type": "urn:xaiserve:problem:not-found"})
    Scripted(lost, absent).client().forget("1")

    for replies in ([absent], [httpx.Response(429), absent]):
        with pytest.raises(NotFoundError):
            Scripted(*replies).client().forget("1")


def test_importing_the_client_imports_neither_torch_nor_ray():
    code = "import sys, xaiserve.client; print({'torch', 'ray', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
