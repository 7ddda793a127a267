"""The same service on a real Ray: what only several processes can show."""

import base64
import json
import socket
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch
import tritonclient.http as triton
from onnx import TensorProto, helper, numpy_helper
from pydantic import PydanticDeprecatedSince20
from ray.exceptions import RayActorError

from xaiserve.api import explain, load_case
from xaiserve.errors import (
    ConflictError,
    InvalidInputError,
    ModelUnavailableError,
    NotFoundError,
)
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.models.loading import load_classifier
from xaiserve.serve.config import make_config
from xaiserve.storage.pictures import encode_png
from xaiserve.storage.rle import rle_to_mask

with warnings.catch_warnings():
    # The settings of Ray Serve use what pydantic has deprecated, which shows on import.
    warnings.simplefilter("ignore", PydanticDeprecatedSince20)
    from xaiserve.serve import running
    from xaiserve.serve.running import RunningService, check_port, start_service

SIDE = 32
SMALL = {"iterations": "3", "spotlights": "6"}
LONG = {"method": "rise", "samples": "100000", "max_seconds": "200"}
"""Takes minutes on the large model."""


def write_model(folder: Path, side: int = SIDE) -> Path:
    """Write an ONNX model whose class 1 is the brightness of the brightest 8 x 8 cell."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("GlobalMaxPool", ["cells"], ["top"]),
        helper.make_node("Flatten", ["top"], ["one"]),
        helper.make_node("Mul", ["one", "scale"], ["lit"]),
        helper.make_node("Sub", ["four", "lit"], ["dark"]),
        helper.make_node("Concat", ["dark", "lit"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([[value]], np.float32), name)
            for name, value in {"scale": 8.0, "four": 4.0}.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    spec = {"height": side, "width": side, "channels": 1, "value_range": [0, 1], "mean": [0]}
    spec |= {"std": [1], "resize": {"mode": "exact", "resample": "bilinear"}}
    spec |= {"labels": ["dark", "light"], "activation": "softmax"}
    (folder / "xaiserve.json").write_text(json.dumps(spec))
    return folder


def picture() -> bytes:
    """One bright cell on a dark noise."""
    values = np.random.Generator(np.random.Philox(key=1)).integers(0, 60, (SIDE, SIDE))
    values[8:16, 16:24] = 230
    return encode_png(values.astype(np.uint8))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def service(folder: Path, cluster: None) -> Iterator[RunningService]:  # noqa: ARG001
    """Two models of which each works on one explanation at a time and lets none wait."""
    large = write_model(folder.parent / "large", 256)
    config = {
        "models": {
            "toy": {"source": str(folder), "batch_rows": 64},
            "large": {"source": str(large), "batch_rows": 64},
        },
        "queue": {"running": 1, "waiting": 0},
        "port": free_port(),
        "answers": {"store": str(folder.parent / "answers")},
    }
    running = start_service(make_config(config))
    yield running
    running.stop()


@pytest.fixture
def client(service: RunningService) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60) as made:
        yield made


def ask(client: httpx.Client, model: str = "toy", **options: str) -> httpx.Response:
    return client.post(
        "/v1/explain",
        params={"model": model, "method": "multirex", **options},
        files={"image": ("a.png", picture())},
    )


def until_in_flight(client: httpx.Client, plans: int) -> None:
    for _ in range(500):
        if client.get("/v1/models/large").json()["in_flight"] == plans:
            return
    pytest.fail(f"there were never {plans} plans in flight")


class Impatient:
    """A client that asks for a long search and hangs up when told to."""

    def __init__(self, service: RunningService) -> None:
        self._port = service.config.port
        self._socket = socket.create_connection(("127.0.0.1", self._port))

    def ask(self, **options: str) -> None:
        body = picture()
        query = "&".join(f"{key}={value}" for key, value in {**LONG, **options}.items())
        head = (
            f"POST /v1/explain?model=large&{query} HTTP/1.1\r\n"
            f"Host: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)

    def hang_up(self) -> None:
        self._socket.close()


@pytest.mark.ray
def test_masks_and_map_equal_those_in_process_bit_for_bit(client: httpx.Client, folder: Path):
    body = ask(client, **SMALL, seed="3", saliency="true").json()

    model = load_classifier(folder)
    (here,) = explain("multirex", model, [load_case(picture(), model)], seed=3, options=SMALL)
    assert isinstance(here, MultiRexExplanation)
    masks = [rle_to_mask(found["mask"]) for found in body["explanations"]]
    assert len(masks) == len(here.explanations) > 0
    for mask, found in zip(masks, here.explanations, strict=True):
        assert torch.equal(mask, found.mask)
    values = np.frombuffer(base64.b64decode(body["saliency"]["data"]), "<f4")
    assert values.tobytes() == here.saliency.numpy().tobytes()
    assert body["overlays"][0]["data"]


@pytest.mark.ray
@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_client_that_hangs_up_stops_its_plan(
    service: RunningService, client: httpx.Client, stream: str
):
    impatient = Impatient(service)
    impatient.ask(stream=stream)
    until_in_flight(client, 1)

    impatient.hang_up()

    until_in_flight(client, 0)
    assert ask(client, "large", method="occlusion").status_code == 200


@pytest.mark.ray
def test_a_full_replica_is_429_with_retry_after_and_still_predicts(
    service: RunningService, client: httpx.Client
):
    impatient = Impatient(service)
    impatient.ask()
    until_in_flight(client, 1)

    refused = ask(client, "large")
    predicted = client.post("/v1/predict?model=large", files={"image": picture()})

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.headers["content-type"] == "application/problem+json"
    assert predicted.json()["decided"] == [{"index": 1, "label": "light"}]
    impatient.hang_up()
    until_in_flight(client, 0)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("image", "status"), [(b"no picture", 415), (b"x" * (33 << 20), 413), (b"", 422)]
)
def test_what_is_wrong_in_the_replica_or_before_is_one_kind_of_problem(
    client: httpx.Client, image: bytes, status: int
):
    answer = client.post("/v1/predict?model=toy", files={"image": image})

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.ray
def test_a_batch_by_tritons_client_has_the_scores_of_the_model(
    service: RunningService, folder: Path
):
    rows = torch.linspace(0, 1, 5 * SIDE * SIDE).view(5, 1, SIDE, SIDE)
    sent = triton.InferInput("image", list(rows.shape), "FP32")
    sent.set_data_from_numpy(rows.numpy())
    with triton.InferenceServerClient(service.url.removeprefix("http://")) as stranger:
        scores = stranger.infer("toy", [sent]).as_numpy("scores")

    assert np.array_equal(scores, load_classifier(folder).scores(rows).numpy())


@pytest.mark.ray
def test_requests_at_the_same_time_are_all_answered(client: httpx.Client):
    answers: list[Any] = []

    def predict() -> None:
        answers.append(client.post("/v1/predict?model=toy", files={"image": picture()}).json())

    threads = [threading.Thread(target=predict) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(answer == answers[0] for answer in answers)
    assert len(answers) == 8


@pytest.mark.ray
def test_a_second_service_on_the_same_cluster_is_refused(service: RunningService, folder: Path):
    with pytest.raises(ConflictError, match="already"):
        start_service(make_config({"models": {"toy": str(folder)}, "port": free_port()}))

    assert httpx.get(f"{service.url}/readyz").json()["ready"]


def test_a_taken_port_is_told_before_anything_starts(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port must be free.*{port}"):
            start_service(make_config({"models": {"toy": str(folder)}, "port": port}))


@pytest.mark.parametrize("error", [RayActorError(), TimeoutError("HTTP proxies not available")])
def test_a_proxy_that_does_not_start_is_told_in_a_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch
):
    def start(**_: object) -> None:
        raise error

    monkeypatch.setattr(running.serve, "start", start)

    with pytest.raises(ModelUnavailableError, match="its HTTP proxy was not there in time"):
        running._deploy(make_config({"models": {"toy": "embedded"}}))


def test_a_host_of_another_machine_is_refused():
    with pytest.raises(InvalidInputError, match=r"203\.0\.113\.1"):
        check_port("203.0.113.1", free_port())


def test_a_model_that_is_not_there_is_told_before_anything_starts(tmp_path: Path):
    config = make_config({"models": {"toy": str(tmp_path / "absent")}, "port": free_port()})

    with pytest.raises(NotFoundError, match="absent"):
        start_service(config)
