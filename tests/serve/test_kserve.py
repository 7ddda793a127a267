"""KServe's first protocol: predict and explain on instances."""

import base64

import httpx
import pytest

from tests.serve.conftest import Toy
from tests.serve.test_bad_input import refused
from xaiserve.api import explain, load_case
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.storage.rle import mask_to_rle

SMALL = {"iterations": 2, "spotlights": 4, "chunk": 2}


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


async def test_files_and_numbers_are_scored_together(client: httpx.AsyncClient, toy: Toy):
    first = toy.image
    last = toy.image.permute(1, 2, 0)
    (expected,) = toy.classifier.scores(first.unsqueeze(0)).tolist()
    for instances in (
        [b64(toy.png), {"image": b64(toy.png)}, {"image_bytes": b64(toy.png)}],
        [first.tolist()] * 3,
        [last.tolist()] * 3,
    ):
        before = toy.classifier.calls
        answer = await client.post("/v1/models/toy:predict", json={"instances": instances})

        assert answer.json() == {"predictions": [expected] * 3}
        assert toy.classifier.calls == before + 1


async def test_each_instance_is_explained_as_in_process(client: httpx.AsyncClient, toy: Toy):
    parameters = {"method": "multirex", "options": SMALL, "seed": 7, "target": 1}
    answer = await client.post(
        "/v1/models/toy:explain",
        json={"instances": [b64(toy.png), b64(toy.png)], "parameters": parameters},
    )

    case = load_case(toy.png, toy.classifier)
    (here,) = explain("multirex", toy.classifier, [case], seed=7, options=SMALL)
    assert isinstance(here, MultiRexExplanation)
    told = answer.json()["explanations"]
    masks = [mask_to_rle(found.mask) for found in here.explanations]
    assert [[found["mask"] for found in one["explanations"]] for one in told] == [masks, masks]
    assert len(masks) > 0


@pytest.mark.parametrize(
    ("verb", "body", "status", "words"),
    [
        ("predict", {}, 422, ("instances is missing",)),
        ("predict", {"instances": []}, 422, ("instances", "at least 1")),
        ("predict", {"instances": ["x"]}, 422, ("instance 0", "b64", "'x'")),
        ("predict", {"instances": [{"b64": "no base64!"}]}, 422, ("instance 0", "base64")),
        ("predict", {"instances": [{"b64": "bm8="}]}, 415, ("PNG",)),
        ("predict", {"instances": [b64(b"no"), b64(b"no")]}, 415, ("picture 0 of 2", "PNG")),
        ("predict", {"instances": [[[[2.0] * 24] * 24] * 3]}, 422, ("0 to 1", "2")),
        ("predict", {"instances": [[[[0.5] * 20] * 24] * 3]}, 422, ("(n, 3, 24, 24)",)),
        ("predict", {"instances": [[1, 2, 3]]}, 422, ("(c, h, w)",)),
        ("predict", {"instances": [b64(b"x")] * 257}, 413, ("256", "257")),
        ("explain", {"instances": [[[[0.5] * 24] * 24] * 3]}, 422, ("instance 0", "file")),
        ("explain", {"instances": [b64(b"x")] * 17}, 413, ("16", "17")),
        ("explain", {"instances": [b64(b"no")]}, 415, ("PNG",)),
    ],
)
async def test_a_wrong_instance_is_named(
    client: httpx.AsyncClient, verb: str, body: dict, status: int, words: tuple[str, ...]
):
    refused(await client.post(f"/v1/models/toy:{verb}", json=body), status, *words)


@pytest.mark.parametrize(
    ("parameters", "status", "words"),
    [
        ({"method": "guess"}, 404, ("'guess'",)),
        ({"options": {"iterations": 0}}, 422, ("iterations", "0")),
        ({"options": {"iterations": [1]}}, 422, ("iterations",)),
        ({"cells": 3}, 422, ("cells is not a known",)),
        ({"max_seconds": 31}, 422, ("max_seconds", "30", "31")),
        ({"seed": -1}, 422, ("seed",)),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: httpx.AsyncClient, toy: Toy, parameters: dict, status: int, words: tuple[str, ...]
):
    body = {"instances": [b64(toy.png)], "parameters": parameters}

    refused(await client.post("/v1/models/toy:explain", json=body), status, *words)


async def test_a_model_that_is_not_served_and_a_body_that_is_no_object_are_told(
    client: httpx.AsyncClient,
):
    refused(await client.post("/v1/models/other:predict", json={}), 404, "'other'")
    refused(await client.post("/v1/models/toy:predict", json=[1]), 422, "JSON object")
    refused(await client.post("/v1/models/toy:predict", content=b"[" * 9000), 422, "JSON")
