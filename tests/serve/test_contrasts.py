"""Contrast pictures over HTTP, without Ray: the model's own, sent, asked for, and wrong."""

import base64
import threading
import time

import httpx
import pytest
import torch

from tests.serve.conftest import BUDGET, QUEUE, UPLOADS, Toy, client_of
from xaiserve.contrasts.gan import GanContrasts
from xaiserve.errors import InvalidInputError, ModelUnavailableError, NoExplanationError
from xaiserve.serve.config import make_config
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.storage.pictures import decode, encode_png
from xaiserve.testing.toys import brightness_classifier, toy_image
from xaiserve.testing.translators import ShadeTranslator

IMAGE = toy_image(32)
MODEL = brightness_classifier(IMAGE, 0.3)
PNG = encode_png((IMAGE.permute(1, 2, 0).numpy() * 255).round().astype("uint8"))
DARK = encode_png((IMAGE.permute(1, 2, 0).numpy() * 60).round().astype("uint8"))
CLEAR = {
    "model": "toy",
    "method": "clear-image",
    "samples": "60",
    "segmenter": "gan_diff",
    "diff_threshold": "0.2",
    "diff_min_area_px": "4",
    "max_segments": "200",
}


async def ask(
    open_own=None, own=None, *, contrast=None, queue=QUEUE, **params: str
) -> httpx.Response:
    server = ClassifierServer(
        MODEL,
        queue=queue,
        limits=UPLOADS.limits,
        draw=lambda *_, **__: b"drawn",
        contrast=own,
        open_contrasts=open_own,
    )
    files = {"image": ("a.png", PNG)} | ({"contrast": ("c.png", contrast)} if contrast else {})
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    try:
        async with client_of(service) as client:
            return await client.post("/v1/explain", params=CLEAR | params, files=files)
    finally:
        server.close()


def shades(spec, ask_model) -> GanContrasts:
    translator = ShadeTranslator(side=32)
    return GanContrasts(translator=translator, spec=spec, ask=ask_model, title="shades")


def raising(error):
    class Failing(ShadeTranslator):
        def translate(self, images, target):  # noqa: ARG002
            raise error

    return lambda spec, ask_model: GanContrasts(
        translator=Failing(side=32), spec=spec, ask=ask_model, title="shades"
    )


def contrast_of(answer: httpx.Response):
    (found,) = [each for each in answer.json()["overlays"] if each["kind"] == "contrast"]
    return decode(base64.b64decode(found["data"])).image


async def test_the_models_own_contrast_is_made_and_shown():
    answer = await ask(shades, "gan")

    assert answer.status_code == 200, answer.text
    assert max(high for _, high in contrast_of(answer).getextrema()) == round(0.3 * 255)
    assert "translator shades's picture" in answer.text


async def test_a_contrast_that_is_sent_goes_before_the_models_own():
    answer = await ask(shades, "gan", contrast=DARK)

    assert answer.status_code == 200, answer.text
    assert contrast_of(answer).tobytes() == decode(DARK).image.tobytes()
    assert "a stored picture, c.png" in answer.text


async def test_without_any_contrast_the_request_is_told_what_it_can_do():
    answer = await ask()

    assert answer.status_code == 422
    told = answer.json()["detail"]
    assert "send one in the form field 'contrast', or ask for contrast=blur or" in told


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (b"no picture", 415, "contrast picture c.png: image must be one of"),
        (encode_png(torch.zeros(9, 20, 3).byte().numpy()), 422, "32x32 px, got 20x9"),
        (PNG, 422, "blank_contrast"),
        (b"x" * (UPLOADS.max_bytes + 1), 413, "contrast must be at most 20000 bytes"),
    ],
)
async def test_a_wrong_contrast_is_the_requests_problem(sent, status, said):
    answer = await ask(contrast=sent)

    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ModelUnavailableError("translator 'x' did not answer in 30 s"), 503, "model-unavailable"),
        (InvalidInputError("translator 'x' takes grey images"), 422, "invalid-input"),
    ],
)
async def test_a_translator_that_does_not_answer_or_refuses_is_a_problem(error, status, kind):
    answer = await ask(raising(error), "gan")

    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (status, kind)
    assert str(error) in answer.json()["detail"]
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_no_contrast_for_this_image_is_an_answer():
    class Never:
        name, digest, batch = "nearest", "0" * 64, 1

        def contrasts(self, cases):
            return [NoExplanationError("no picture is near")] * len(cases)

    answer = await ask(lambda *_: Never(), "nearest")

    assert (answer.status_code, answer.json()["outcome"]) == (200, "none")
    assert answer.json()["reason"] == "no picture is near"


async def test_time_for_the_contrast_counts():
    gate = threading.Event()

    def slow(spec, ask_model):
        gate.wait(5)
        return shades(spec, ask_model)

    started = time.monotonic()
    answer = await ask(slow, "gan", max_seconds="0.3")
    gate.set()

    assert time.monotonic() - started < 4
    assert answer.status_code == 503
    assert "the translator of model 'brightness 0.3' did not" in answer.json()["detail"]


async def test_a_contrast_for_a_method_that_has_no_use_for_it_is_refused(client, toy: Toy):
    files = {"image": ("a.png", toy.png), "contrast": ("b.png", toy.png)}
    params = {"model": "toy", "method": "occlusion"}
    sent = await client.post("/v1/explain", params=params, files=files)
    asked = await client.post(
        "/v1/explain", params=params | {"contrast": "blur"}, files={"image": toy.png}
    )
    both = await client.post("/v1/explain", params=CLEAR | {"contrast": "blur"}, files=files)

    for answer in (sent, asked):
        assert answer.status_code == 422
        assert "contrast is for methods that compare" in answer.json()["detail"]
    assert "got both: a file and blur" in both.json()["detail"]


async def test_predict_takes_no_contrast(client, toy: Toy):
    files = {"image": ("a.png", toy.png), "contrast": ("b.png", toy.png)}
    answer = await client.post("/v1/predict", params={"model": "toy"}, files=files)

    assert answer.status_code == 422


async def test_models_and_methods_say_what_there_is(client):
    models = await client.get("/v1/models/toy")
    methods = (await client.get("/v1/methods")).json()["methods"]
    schema = (await client.get("/openapi.json")).json()

    assert models.json()["contrasts"] == ["upload", "blur", "inpaint"]
    assert [each["name"] for each in methods if each["needs_contrast"]] == ["clear-image"]
    body = schema["paths"]["/v1/explain"]["post"]["requestBody"]["content"]
    assert set(body["multipart/form-data"]["schema"]["properties"]) == {"image", "contrast"}
    parameters = schema["paths"]["/v1/explain"]["post"]["parameters"]
    (contrast,) = [each for each in parameters if each["name"] == "contrast"]
    assert "blur" in str(contrast["schema"])


async def test_blur_and_inpainting_can_be_asked_for():
    for kind in ("blur", "inpaint"):
        server = ClassifierServer(
            MODEL, queue=QUEUE, limits=UPLOADS.limits, draw=lambda *_, **__: b"drawn"
        )
        service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
        async with client_of(service) as client:
            answer = await client.post(
                "/v1/explain", params=CLEAR | {"contrast": kind}, files={"image": PNG}
            )
        server.close()
        assert answer.status_code == 200, answer.text
        assert "the image itself" in answer.text or answer.json()["outcome"] == "none"


def test_settings_are_short_or_long_and_exclude_each_other():
    short = make_config({"models": {"a": {"source": "x", "translator": "folder"}}})
    long = make_config({"models": {"a": {"source": "x", "contrast": "nearest:pool"}}})
    numbers = {"contrast": "blur", "contrast_options": {"sigma": 0.1}}

    assert short.models["a"].translator.source == "folder"
    assert short.cpus == 2
    assert (long.models["a"].contrasts.kind, long.models["a"].contrasts.place) == (
        "nearest",
        "pool",
    )
    assert make_config({"models": {"a": {"source": "x"} | numbers}}).models["a"].contrasts.options
    with pytest.raises(InvalidInputError, match="got both"):
        make_config({"models": {"a": {"source": "x", "translator": "y", "contrast": "blur"}}})
    with pytest.raises(InvalidInputError, match="nearest:POOL, file:PAIR"):
        make_config({"models": {"a": {"source": "x", "contrast": "telea"}}})
