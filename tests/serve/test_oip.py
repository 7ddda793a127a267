"""The Open Inference Protocol, asked by NVIDIA's own client and by hand."""

import base64
import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.serve.conftest import BUDGET, UPLOADS, Toy, make_toy
from tests.serve.live import listening
from xaiserve.errors import InvalidInputError
from xaiserve.serve.config import Queue
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.protocols.tensors import from_numbers
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service

PATH = "/v2/models/toy"


@pytest.fixture(scope="module")
def module_toy() -> Toy:
    return make_toy()


@pytest.fixture(scope="module")
def url(module_toy: Toy) -> Iterator[str]:
    server = ClassifierServer(
        module_toy.classifier,
        queue=Queue(),
        limits=UPLOADS.limits,
        draw=lambda *_, **__: b"",
    )
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    with listening(build_ingress(service)) as found:
        yield found
    server.close()


@pytest.fixture(scope="module")
def stranger(url: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(url.removeprefix("http://")) as made:
        yield made


def batch(toy: Toy) -> np.ndarray:
    """Show the picture, nothing of it, and its second patch alone."""
    shown = toy.image.numpy()
    part = np.zeros_like(shown)
    part[:, 14:20, 14:20] = shown[:, 14:20, 14:20]
    return np.stack([shown, np.zeros_like(shown), part])


def tensor(values: np.ndarray, datatype: str, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput("image", list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client_gets_the_scores_of_the_model(
    stranger: triton.InferenceServerClient, module_toy: Toy, *, binary: bool
):
    values = batch(module_toy)
    answer = stranger.infer(
        "toy",
        [tensor(values, "FP32", binary=binary)],
        outputs=[triton.InferRequestedOutput("scores", binary_data=binary)],
        request_id="mine",
    )

    expected = module_toy.classifier.scores(torch.from_numpy(values)).numpy()
    assert np.array_equal(answer.as_numpy("scores"), expected)
    assert expected.argmax(axis=1).tolist() == [1, 0, 1]
    assert answer.get_response()["id"] == "mine"


def test_tritons_client_finds_server_and_model_alive_and_described(
    stranger: triton.InferenceServerClient, module_toy: Toy
):
    model = stranger.get_model_metadata("toy")

    assert stranger.is_server_live()
    assert stranger.is_server_ready()
    assert stranger.is_model_ready("toy")
    assert not stranger.is_model_ready("other")
    assert stranger.get_server_metadata()["extensions"] == ["binary_tensor_data", "classification"]
    assert model["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 24, 24]}]
    assert model["outputs"] == [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}]
    assert model["parameters"]["digest"] == module_toy.classifier.digest


def test_a_version_is_the_beginning_of_the_digest(
    stranger: triton.InferenceServerClient, module_toy: Toy
):
    (version,) = stranger.get_model_metadata("toy")["versions"]
    answer = stranger.infer(
        "toy", [tensor(batch(module_toy), "FP32")], model_version=version
    ).get_response()

    assert module_toy.classifier.digest.startswith(version)
    assert (answer["model_name"], answer["model_version"]) == ("toy", version)
    assert stranger.is_model_ready("toy", version)
    assert not stranger.is_model_ready("toy", "1")


def test_files_and_eight_bit_pictures_score_like_the_prepared_picture(
    stranger: triton.InferenceServerClient, module_toy: Toy
):
    files = np.array([module_toy.png], dtype=object)
    pixels = (module_toy.image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[None]

    (expected,) = module_toy.classifier.scores(module_toy.image.unsqueeze(0)).tolist()
    for sent in (tensor(files, "BYTES"), tensor(pixels, "UINT8")):
        assert stranger.infer("toy", [sent]).as_numpy("scores").tolist() == [expected]


@pytest.mark.parametrize("binary", [True, False])
def test_classes_are_named_on_request(
    stranger: triton.InferenceServerClient, module_toy: Toy, *, binary: bool
):
    wish = triton.InferRequestedOutput("scores", binary_data=binary, class_count=1)
    found = stranger.infer("toy", [tensor(batch(module_toy), "FP32")], outputs=[wish]).as_numpy(
        "scores"
    )

    told = [each.decode() if isinstance(each, bytes) else each for each in found.flatten()]
    assert told == ["0.900000:1:evidence", "0.900000:0:nothing", "0.900000:1:evidence"]


def test_pictures_of_one_request_are_scored_in_one_batch(
    stranger: triton.InferenceServerClient, module_toy: Toy
):
    before = module_toy.classifier.calls
    stranger.infer("toy", [tensor(batch(module_toy), "FP32")])
    together = module_toy.classifier.calls - before
    stranger.infer("toy", [tensor(batch(module_toy), "FP32")], parameters={"alone": True})

    assert (together, module_toy.classifier.calls - before) == (1, 4)


def test_an_error_reaches_the_stranger_as_one_sentence(
    stranger: triton.InferenceServerClient, module_toy: Toy
):
    with pytest.raises(InferenceServerException, match=r"\(n, 3, 24, 24\), got \(3, 3, 24, 12\)"):
        stranger.infer("toy", [tensor(batch(module_toy)[..., :12], "FP32")])
    with pytest.raises(InferenceServerException, match="'other' is not served"):
        stranger.infer("other", [tensor(batch(module_toy), "FP32")])


def asked(toy: Toy, **changes: object) -> dict[str, object]:
    values = toy.image.unsqueeze(0)
    return {
        "name": "image",
        "datatype": "FP32",
        "shape": list(values.shape),
        "data": values.flatten().tolist(),
        **changes,
    }


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"name": "photo"}, 400, ("'image'", "'photo'")),
        ({"datatype": "FP64"}, 400, ("datatype", "'FP64'")),
        ({"shape": [1, 3, 24]}, 400, ("(n, c, h, w)", "[1, 3, 24]")),
        ({"shape": [-1, 3, 24, 24]}, 400, ("shape", "-1")),
        ({"shape": [0, 3, 24, 24]}, 400, ("begin with 1",)),
        ({"shape": [300, 3, 24, 24]}, 413, ("256", "300")),
        ({"shape": [1, 3, 24, 2**40]}, 400, ("shape",)),
        ({"shape": [2, 3, 24, 24]}, 400, ("3456 values", "1728")),
        ({"data": ["0"] * 1728}, 400, ("numbers", "'0'")),
        ({"data": [[0], [0, 0]]}, 400, ("rows of equal length",)),
        ({"data": [[0], [None]]}, 400, ("numbers, got None",)),
        ({"data": [2**70] * 1728}, 400, ("64 bits",)),
        ({"data": None}, 400, ("either data or", "binary_data_size")),
        ({"data": [1e300] * 1728}, 400, ("numbers from",)),
        ({"datatype": "UINT8", "shape": [1, 24, 24, 3], "data": [256] * 1728}, 400, ("0 to 255",)),
        ({"datatype": "UINT8", "shape": [1, 24, 24, 3], "data": [0.5] * 1728}, 400, ("whole",)),
        ({"datatype": "BYTES", "shape": [1], "data": ["no base64!"]}, 400, ("base64",)),
        ({"datatype": "BYTES", "shape": [1], "data": ["bm8="]}, 415, ("PNG",)),
        ({"datatype": "BYTES", "shape": [2], "data": ["bm8="]}, 400, ("2 values", "1")),
        ({"parameters": {"binary_data_size": 4}}, 400, ("either data or",)),
    ],
)
def test_a_wrong_tensor_is_named(
    url: str, module_toy: Toy, changes: dict[str, object], status: int, words: tuple[str, ...]
):
    body = {"inputs": [asked(module_toy, **changes)]}

    refused(httpx.post(url + PATH + "/infer", json=body), status, *words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"outputs": [{"name": "logits"}]}, ("'scores'", "'logits'")),
        ({"outputs": [{"name": "scores", "parameters": {"classification": 0}}]}, ("at least 1",)),
        ({"parameters": {"binary_data_output": "yes"}}, ("true or false", "'yes'")),
        ({"parameters": {"alone": 1}}, ("alone",)),
        ({"inputs": []}, ("inputs", "at least 1")),
    ],
)
def test_a_wrong_wish_is_named(
    url: str, module_toy: Toy, more: dict[str, object], words: tuple[str, ...]
):
    body = {"inputs": [asked(module_toy)], **more}

    refused(httpx.post(url + PATH + "/infer", json=body), 400, *words)


@pytest.mark.parametrize("stated", ["-1", "x", "9" * 40, "100000", ""])
def test_a_wrong_length_of_the_json_is_refused(url: str, stated: str):
    headers = {"Inference-Header-Content-Length": stated}

    refused(
        httpx.post(url + PATH + "/infer", content=b"{}", headers=headers),
        400,
        "Inference-Header-Content-Length",
    )


def test_a_text_among_numbers_is_refused_before_each_takes_as_much_room():
    numpy_would_take_64_tib = ["x" * (1 << 24), *[0] * (1 << 20)]

    with pytest.raises(InvalidInputError, match="numbers, got 'xxx"):
        from_numbers(numpy_would_take_64_tib, np.dtype("<f4"))


def test_a_file_in_base64_and_what_is_not_a_number_are_told_apart(url: str, module_toy: Toy):
    text = base64.b64encode(module_toy.png).decode()
    sent = asked(module_toy, datatype="BYTES", shape=[1, 1], data=[[text]])
    good = httpx.post(url + PATH + "/infer", json={"inputs": [sent]})
    nan = json.dumps({"inputs": [asked(module_toy, data=[float("nan")] * 1728)]})

    assert good.json()["outputs"][0]["shape"] == [1, 2]
    refused(httpx.post(url + PATH + "/infer", content=nan), 400, "nan")


def test_binary_nan_and_a_compressed_body_are_refused(url: str, module_toy: Toy):
    sent = asked(module_toy, data=None, parameters={"binary_data_size": 4 * 1728})
    head = json.dumps({"inputs": [sent]}).encode()
    body = head + np.full(1728, np.nan, "<f4").tobytes()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    path = url + PATH + "/infer"

    refused(httpx.post(path, content=body, headers=headers), 400, "finite")
    refused(httpx.post(path, content=body[:-4], headers=headers), 400, "6912", "6908")
    refused(httpx.post(path, content=b"x", headers={"Content-Encoding": "gzip"}), 415, "gzip")


def test_paths_that_the_protocol_lacks_have_its_errors_too(url: str):
    refused(httpx.get(url + "/v2/models/toy/versions/7"), 404, "version", "'7'")
    refused(httpx.get(url + "/v2/nothing"), 404, "/v2/nothing")
    refused(httpx.get(url + PATH + "/infer"), 405, "GET")
