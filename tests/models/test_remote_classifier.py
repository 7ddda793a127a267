"""A model behind a server: our own service, and one of a stranger made by hand."""

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch

from tests.serve.conftest import BUDGET, PATCHES, make_toy
from tests.serve.live import listening
from xaiserve.api import explain, load_case
from xaiserve.errors import ClassifierFaultError, InvalidInputError, ModelUnavailableError
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.models.inspecting import inspect_model
from xaiserve.models.loading import load_classifier
from xaiserve.models.remote_classifier import load_remote
from xaiserve.models.remote_connection import Connection, Pace
from xaiserve.models.spec_json import spec_to_json
from xaiserve.serve.config import Queue, Uploads
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.testing.toys import any_classifier, toy_spec

SMALL = {"iterations": 2, "spotlights": 4, "chunk": 2}
TOY = make_toy()
# As users have them: a mean and a deviation, which go back and forth over the wire.
CLASSIFIER = any_classifier(TOY.image, PATCHES, spec=toy_spec(TOY.image, mean=0.5, std=0.25))


@pytest.fixture(scope="module")
def server() -> Iterator[ClassifierServer]:
    made = ClassifierServer(
        CLASSIFIER, queue=Queue(), limits=Uploads().limits, draw=lambda *_, **__: b""
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(server: ClassifierServer) -> Iterator[str]:
    service = Service(models={"toy": server}, uploads=Uploads(), budget=BUDGET)
    with listening(build_ingress(service)) as found:
        yield f"{found}/v2/models/toy"


def test_our_own_server_says_what_its_model_is(url: str):
    remote = load_classifier(url)

    assert (remote.name, remote.digest) == ("toy", CLASSIFIER.digest)
    assert remote.spec == CLASSIFIER.spec
    assert remote.streams == 4
    scores = remote.scores(TOY.image.unsqueeze(0))
    assert torch.equal(scores, CLASSIFIER.scores(TOY.image.unsqueeze(0)))


def test_an_explanation_over_the_wire_equals_the_one_in_process(url: str):
    remote = load_classifier(url)
    (far,) = explain("multirex", remote, [load_case(TOY.png, remote)], seed=7, options=SMALL)
    (here,) = explain(
        "multirex", CLASSIFIER, [load_case(TOY.png, CLASSIFIER)], seed=7, options=SMALL
    )

    assert isinstance(far, MultiRexExplanation)
    assert isinstance(here, MultiRexExplanation)
    assert torch.equal(far.saliency, here.saliency)
    masks = [found.mask for found in far.explanations]
    assert len(masks) > 0
    assert all(
        torch.equal(mask, found.mask) for mask, found in zip(masks, here.explanations, strict=True)
    )


def test_released_sets_are_scored_alone(url: str):
    remote = load_classifier(url)
    before = CLASSIFIER.calls
    remote.scores(TOY.image.expand(3, -1, -1, -1))

    assert CLASSIFIER.calls == before + 3


def test_a_model_behind_a_server_has_no_gradients_and_no_device(url: str):
    with pytest.raises(InvalidInputError, match="no gradients"):
        load_classifier(url).gradients()
    with pytest.raises(InvalidInputError, match="precision fp32"):
        load_classifier(url, precision="bf16")


def test_inspection_tells_of_the_server(url: str):
    found = inspect_model(url)

    assert (found["digest"], found["labels"], found["warnings"]) == (CLASSIFIER.digest, 2, [])


class Stranger:
    """A server that is not ours: its model takes (n, h, w, c), the sum of channel 0 is class 1."""

    def __init__(self, *, binary: bool = False) -> None:
        self.binary = binary
        self.shape = [-1, 6, 5, 3]
        self.outputs = ["logits"]
        self.faults: list[httpx.Response | Exception] = []
        self.rows: list[int] = []
        self.version = "1"
        self.waits: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v2":
            extensions = ["binary_tensor_data"] if self.binary else []
            return httpx.Response(200, json={"name": "strange", "extensions": extensions})
        if path == "/v2/models/X":
            inputs = [{"name": "x", "datatype": "FP32", "shape": self.shape}]
            outputs = [{"name": n, "datatype": "FP32", "shape": [-1, 2]} for n in self.outputs]
            return httpx.Response(200, json={"name": "X", "inputs": inputs, "outputs": outputs})
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        return self.infer(request)

    def infer(self, request: httpx.Request) -> httpx.Response:
        length = request.headers.get("inference-header-content-length")
        body = json.loads(request.content[: None if length is None else int(length)])
        (tensor,) = body["inputs"]
        if length is None:
            values = np.array(tensor["data"], "<f4")
        else:
            values = np.frombuffer(request.content[int(length) :], "<f4")
        values = values.reshape(tensor["shape"])
        self.rows.append(len(values))
        lit = values[..., 0].sum(axis=(1, 2))
        logits = np.stack([np.zeros_like(lit), lit], axis=1).astype("<f4")
        told = {"name": body["outputs"][0]["name"], "datatype": "FP32", "shape": [len(values), 2]}
        answer = {"model_name": "X", "model_version": self.version, "outputs": [told]}
        if not self.binary:
            told["data"] = logits.ravel().tolist()
            return httpx.Response(200, json=answer)
        told["parameters"] = {"binary_data_size": logits.nbytes}
        head = json.dumps(answer).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        return httpx.Response(200, content=head + logits.tobytes(), headers=headers)

    def connection(self, patience_s: float = 60) -> Connection:
        return Connection(
            "http://strange/v2/models/X",
            patience_s=patience_s,
            timeout_s=5,
            headers={},
            transport=httpx.MockTransport(self),
            sleep=self.waits.append,
        )


SPEC = {
    **spec_to_json(toy_spec(torch.zeros(3, 6, 5), mean=0.5, std=0.5)),
    "activation": "softmax",
}


def strange(stranger: Stranger, query: str = "", patience_s: float = 60):
    return load_remote(
        f"http://strange/v2/models/X{query}",
        overrides=SPEC,
        connection=stranger.connection(patience_s),
    )


@pytest.mark.parametrize("binary", [True, False])
def test_a_stranger_gets_what_the_specification_makes_of_a_picture(*, binary: bool):
    remote = strange(Stranger(binary=binary))
    images = torch.rand(4, 3, 6, 5, generator=torch.Generator().manual_seed(1))

    lit = ((images[:, 0] - 0.5) / 0.5).sum(dim=(1, 2))
    expected = torch.stack([torch.zeros(4), lit], dim=1).softmax(dim=1)
    assert torch.allclose(remote.scores(images), expected, atol=1e-6)


def test_a_stranger_without_a_specification_is_a_sentence_that_says_what_to_state():
    with pytest.raises(InvalidInputError, match=r"mean.*spec=FILE"):
        load_remote("http://strange/v2/models/X", connection=Stranger().connection())
    with pytest.raises(InvalidInputError, match="labels: not stated"):
        load_remote(
            "http://strange/v2/models/X",
            overrides={key: value for key, value in SPEC.items() if key != "labels"},
            connection=Stranger().connection(),
        )


def test_a_specification_may_lie_in_a_file(tmp_path: Path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(SPEC))
    remote = load_remote(
        f"http://strange/v2/models/X?spec={path}", connection=Stranger().connection()
    )

    assert remote.spec.labels == ("nothing", "evidence")
    assert "digest is that of its metadata" in remote.notes[1]


def test_metadata_that_do_not_fit_are_a_sentence():
    stranger = Stranger()
    stranger.shape = [-1, 6, 6, 3]
    with pytest.raises(InvalidInputError, match=r"\(n, 3, 6, 5\).*\[-1, 6, 6, 3\]"):
        strange(stranger)
    stranger = Stranger()
    stranger.outputs = ["logits", "features"]
    with pytest.raises(InvalidInputError, match="logits, features"):
        strange(stranger)
    assert strange(stranger, "?output=logits").spec.classes == 2


def test_batches_are_no_larger_than_stated_and_those_of_a_fixed_size_are_filled():
    stranger = Stranger()
    strange(stranger, "?rows=2").scores(torch.zeros(5, 3, 6, 5))
    fixed = Stranger()
    fixed.shape = [4, 6, 5, 3]
    assert len(strange(fixed).scores(torch.zeros(5, 3, 6, 5))) == 5

    assert stranger.rows == [2, 1, 2, 2, 1]
    assert set(fixed.rows) == {4}


def test_a_server_that_is_away_or_full_is_asked_again():
    stranger = Stranger()
    remote = strange(stranger)
    stranger.faults = [
        httpx.ConnectError("refused"),
        httpx.Response(503),
        httpx.Response(429, headers={"Retry-After": "7"}),
        httpx.RemoteProtocolError("cut off"),
    ]

    assert remote.scores(torch.zeros(1, 3, 6, 5)).shape == (1, 2)
    assert len(stranger.waits) == 4
    assert stranger.waits[2] >= 7


def test_a_server_that_stays_away_is_given_up_and_waited_for_once():
    stranger = Stranger()
    remote = strange(stranger, patience_s=0)
    stranger.faults = [httpx.Response(503, json={"error": "not ready"}) for _ in range(2)]

    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="503: not ready"):
            remote.scores(torch.zeros(1, 3, 6, 5))
    assert remote.scores(torch.zeros(1, 3, 6, 5)).shape == (1, 2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(404, ModelUnavailableError), (401, ModelUnavailableError), (400, ClassifierFaultError)],
)
def test_a_refusal_is_told_at_once_with_the_servers_words(status: int, kind: type[Exception]):
    stranger = Stranger()
    remote = strange(stranger)
    stranger.faults = [httpx.Response(status, json={"error": "for a reason"})]

    with pytest.raises(kind, match=f"{status}: for a reason"):
        remote.scores(torch.zeros(1, 3, 6, 5))
    assert stranger.waits == []


@pytest.mark.parametrize(
    "answer",
    [b"no JSON", b"{}", b"[]", b'{"outputs": []}', b'{"outputs": [{"name": "logits"}]}', b"\xff"],
)
def test_an_answer_that_is_none_is_a_fault_of_the_model(answer: bytes):
    stranger = Stranger()
    remote = strange(stranger)
    stranger.faults = [httpx.Response(200, content=answer)]

    with pytest.raises(ClassifierFaultError, match="logits"):
        remote.scores(torch.zeros(1, 3, 6, 5))


def test_a_model_that_is_replaced_meanwhile_is_not_mixed_with_the_first():
    stranger = Stranger()
    remote = strange(stranger)
    stranger.version = "2"

    with pytest.raises(ClassifierFaultError, match=r"'1'.*'2'"):
        remote.scores(torch.zeros(1, 3, 6, 5))


def test_rows_are_paced_over_all_threads():
    now, waits = 0.0, []
    pace = Pace(10, clock=lambda: now, sleep=waits.append)
    for _ in range(3):
        pace.take(5)

    assert waits == [0.5, 1.0]


def test_an_explanation_survives_a_server_that_dies_and_comes_back():
    """Every fourth request meets a dead server; the result is as if none had."""
    steady, shaky = Stranger(binary=True), Stranger(binary=True)
    number, lock, infer = itertools.count(), threading.Lock(), shaky.infer

    def broken(request: httpx.Request) -> httpx.Response:
        with lock:
            if next(number) % 4 == 3:
                raise httpx.ReadError("connection reset")
        return infer(request)

    shaky.infer = broken
    found = []
    for stranger in (steady, shaky):
        remote = strange(stranger, "?rows=3")
        case = load_case(TOY.png, remote, target=1)
        found += explain("occlusion", remote, [case], options={"cells": 5})

    assert len(shaky.waits) > 2
    assert torch.equal(found[0].saliency, found[1].saliency)


def test_a_server_that_never_comes_back_ends_the_explanation_with_its_address():
    stranger = Stranger()
    remote = strange(stranger, patience_s=0)
    case = load_case(TOY.png, remote, target=1)
    stranger.faults = [httpx.ConnectError("refused")] * 1000

    with pytest.raises(ModelUnavailableError, match=r"http://strange.*ConnectError"):
        explain("occlusion", remote, [case], options={"cells": 5})
