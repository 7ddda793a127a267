import base64
import json
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image as PillowImage

from tests.serve.conftest import BUDGET, PATCHES, QUEUE, UPLOADS, Toy, client_of
from xaiserve.api import explain, load_case
from xaiserve.cli import main
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.models.loading import load_classifier
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.storage.pictures import encode_png
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.jobs import write_images, write_model
from xaiserve.testing.toys import light_classifier

SMALL = {"iterations": "2", "spotlights": "4", "chunk": "2"}
ASKED = {"model": "toy", "method": "multirex", **SMALL}


async def ask(client: httpx.AsyncClient, png: bytes, **options: str):
    answer = await client.post(
        "/v1/explain", params={**ASKED, **options}, files={"image": ("a.png", png)}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_masks_over_http_equal_those_in_process(client: httpx.AsyncClient, toy: Toy):
    body = await ask(client, toy.png, seed="7", saliency="true")

    case = load_case(toy.png, toy.classifier)
    (here,) = explain("multirex", toy.classifier, [case], seed=7, options=SMALL)
    assert isinstance(here, MultiRexExplanation)
    masks = [rle_to_mask(found["mask"]) for found in body["explanations"]]
    assert len(masks) == len(here.explanations) > 0
    assert all(
        torch.equal(mask, found.mask) for mask, found in zip(masks, here.explanations, strict=True)
    )
    assert [found["confidence"] for found in body["explanations"]] == [
        found.confidence for found in here.explanations
    ]
    assert body["selected"] == list(here.selected)
    values = np.frombuffer(base64.b64decode(body["saliency"]["data"]), "<f4")
    assert np.array_equal(values.reshape(24, 24), here.saliency.numpy())


async def test_an_answer_names_model_method_target_cost_and_picture(
    client: httpx.AsyncClient, toy: Toy
):
    body = await ask(client, toy.png)

    case = load_case(toy.png, toy.classifier)
    assert (body["outcome"], body["complete"], body["stopped"]) == ("explained", True, None)
    assert (body["model_digest"], body["image_id"]) == (toy.classifier.digest, case.image_id)
    assert body["target"] == {"index": 1, "label": "evidence"}
    assert body["parameters"]["iterations"] == 2
    assert body["parameters"]["tau"] == 0.0
    assert body["cost"]["model_inputs"] > 0
    assert [score["index"] for score in body["scores"]] == [1, 0]
    assert body["confidence"] == body["scores"][0]["score"]
    assert base64.b64decode(body["overlays"][0]["data"]) == b"drawn"


async def test_every_set_shows_one_of_the_patches_that_decide(client: httpx.AsyncClient, toy: Toy):
    body = await ask(client, toy.png)

    for found in body["explanations"]:
        mask = rle_to_mask(found["mask"])
        assert any(bool(mask[r0:r1, c0:c1].all()) for r0, r1, c0, c1 in PATCHES)
        assert found["area_px"] == int(mask.sum())
    assert [i for i, found in enumerate(body["explanations"]) if found["selected"]] == body[
        "selected"
    ]


async def test_what_only_this_method_says_is_in_the_details(client: httpx.AsyncClient, toy: Toy):
    body = await ask(client, toy.png)

    assert (body["details"]["flat_map"], body["details"]["trivial"]) == (False, False)
    walked = [one for one in body["explanations"] if one["kind"] in {"global", "spotlight"}]
    assert all(found["details"]["ranked_px"] > 0 for found in walked)
    assert "mask" not in body["explanations"][0]["details"]


async def test_a_raw_body_gives_the_same_answer_as_a_form(client: httpx.AsyncClient, toy: Toy):
    formed = await ask(client, toy.png)
    raw = await client.post(
        "/v1/explain", params=ASKED, content=toy.png, headers={"content-type": "image/png"}
    )

    assert raw.json()["explanations"] == formed["explanations"]


async def test_masks_are_carried_to_the_original_pixels(client: httpx.AsyncClient, toy: Toy):
    values = np.asarray((toy.image.permute(1, 2, 0).numpy() * 255).round(), dtype=np.uint8)
    larger = encode_png(values.repeat(2, axis=0).repeat(2, axis=1))
    options = {"method": "occlusion", "cells": "4", "frame": "original", "saliency": "true"}
    answer = await client.post(
        "/v1/explain",
        params={"model": "toy", **options},
        files={"image": ("a.png", larger)},
    )

    body = answer.json()
    assert body["frame"]["name"] == "original"
    assert (body["frame"]["height"], body["frame"]["width"]) == (48, 48)
    assert body["saliency"]["shape"] == [48, 48]


async def test_a_spent_budget_is_an_answer_that_says_it_is_incomplete(
    client: httpx.AsyncClient, toy: Toy
):
    body = await ask(client, toy.png, iterations="20", max_inputs="700")

    assert (body["complete"], body["stopped"]) == (False, "inputs")
    assert body["cost"]["model_inputs"] <= 700


async def test_a_budget_spent_before_anything_was_found_is_429(client: httpx.AsyncClient, toy: Toy):
    answer = await client.post(
        "/v1/explain",
        params={"model": "toy", "method": "occlusion", "max_inputs": "3"},
        files={"image": toy.png},
    )

    assert answer.status_code == 429
    assert answer.json()["type"].endswith("budget-spent")


async def test_a_method_without_an_answer_is_200_with_outcome_none(
    client: httpx.AsyncClient, toy: Toy
):
    body = await ask(client, toy.png, target="nothing")

    assert body["outcome"] == "none"
    assert body["reason"]
    assert body["explanations"] == []
    assert body["saliency"] is None


async def test_predict_names_the_first_classes_and_the_decision(
    client: httpx.AsyncClient, toy: Toy
):
    answer = await client.post(
        "/v1/predict", params={"model": "toy", "top": 1}, files={"image": toy.png}
    )

    body = answer.json()
    assert body["decided"] == [{"index": 1, "label": "evidence"}]
    assert [score["label"] for score in body["scores"]] == ["evidence"]


async def test_methods_publish_a_schema_that_the_defaults_fit(client: httpx.AsyncClient):
    listed = (await client.get("/v1/methods")).json()["methods"]

    multirex = next(method for method in listed if method["name"] == "multirex")
    iterations = multirex["parameters"]["properties"]["iterations"]
    assert (iterations["type"], iterations["minimum"], iterations["default"]) == ("integer", 1, 20)
    assert multirex["parameters"]["additionalProperties"] is False
    assert (await client.get("/v1/methods/multirex")).json() == multirex


async def test_no_method_has_a_parameter_that_a_route_keeps_for_itself(client: httpx.AsyncClient):
    openapi = (await client.get("/openapi.json")).json()
    own = {given["name"] for given in openapi["paths"]["/v1/explain"]["post"]["parameters"]}

    for method in (await client.get("/v1/methods")).json()["methods"]:
        assert not own & set(method["parameters"]["properties"]), method["name"]


async def test_models_have_the_kserve_shape(client: httpx.AsyncClient, toy: Toy):
    assert (await client.get("/v1/models")).json() == {"models": ["toy"]}
    one = (await client.get("/v1/models/toy")).json()
    assert (one["name"], one["ready"], one["labels"]) == (
        toy.classifier.name,
        True,
        ["nothing", "evidence"],
    )


async def test_health_and_readiness_are_answered(client: httpx.AsyncClient):
    assert (await client.get("/healthz")).json() == {"status": "ok"}
    assert (await client.get("/readyz")).json() == {"ready": True, "models": ["toy"]}


async def test_the_page_names_every_route_and_loads_nothing(client: httpx.AsyncClient):
    page = (await client.get("/docs")).text

    for path in (await client.get("/openapi.json")).json()["paths"]:
        assert path in page
    assert "<script" not in page
    assert "//" not in page.replace("http://HOST:PORT", "").replace("https://json-schema", "")


async def test_the_openapi_document_names_the_forms_field(client: httpx.AsyncClient):
    openapi = (await client.get("/openapi.json")).json()

    content = openapi["paths"]["/v1/explain"]["post"]["requestBody"]["content"]
    assert "image" in content["multipart/form-data"]["schema"]["properties"]
    assert json.dumps(openapi)


async def test_a_gradient_method_runs_beside_the_weights(toy: Toy):
    pytest.importorskip("captum")
    lit = light_classifier(toy.image)
    server = ClassifierServer(lit, queue=QUEUE, limits=UPLOADS.limits, draw=lambda *_, **__: b"")
    service = Service(models={"lit": server}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as client:
        answer = await client.post(
            "/v1/explain",
            params={"model": "lit", "method": "integrated-gradients", "saliency": "true"},
            files={"image": toy.png},
        )
    server.close()

    (here,) = explain("integrated-gradients", lit, [load_case(toy.png, lit)])
    values = base64.b64decode(answer.json()["saliency"]["data"])
    assert values == here.saliency.numpy().tobytes()
    assert answer.json()["cost"]["model_inputs"] > 0


@pytest.mark.parametrize("frame", ["model", "original"])
@pytest.mark.parametrize(("target", "outcome"), [("light", "explained"), ("dark", "none")])
async def test_the_command_line_says_what_the_service_says(
    tmp_path: Path, frame: str, target: str, outcome: str
):
    write_images(tmp_path, 1)
    photo = tmp_path / "a.png"
    PillowImage.open(tmp_path / "000.png").resize((60, 40)).save(photo)
    folder = write_model(tmp_path)
    words = [f"--{name}={value}" for name, value in (("frame", frame), ("target", target))]
    options = [word for pair in SMALL.items() for word in ("--set", "=".join(pair))]
    ended = CliRunner().invoke(
        main, ["explain", "--json", "--seed=7", f"--model={folder}", *words, *options, str(photo)]
    )
    (told,) = json.loads(ended.stdout)

    server = ClassifierServer(
        load_classifier(folder), queue=QUEUE, limits=UPLOADS.limits, draw=lambda *_, **__: b""
    )
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as client:
        body = await ask(
            client, photo.read_bytes(), seed="7", saliency="true", frame=frame, target=target
        )
    server.close()

    del body["overlays"], body["cached"], body["cost"]["waited_seconds"]
    for document in (body, told):
        # The size of batches is measured, and so their number depends on time as well.
        for kind in ("wall_seconds", "device_seconds", "batches"):
            del document["cost"][kind]
    assert told["outcome"] == outcome
    assert told == body
