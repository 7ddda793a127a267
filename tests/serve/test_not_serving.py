"""Serve's proxy without a route: before the service is there, and while it stops."""

import httpx
import pytest
from ray.serve._private.http_util import validate_http_proxy_callback_return
from ray.serve._private.utils import call_function_from_import_path
from starlette.responses import JSONResponse, PlainTextResponse, Response

from xaiserve.serve.config import PROXY_CALLBACK

TOLD = {"x-request-id": "of-the-proxy"}


async def answer_of(inner: Response, path: str = "/v1/models") -> httpx.Response:
    """Ask the proxy, as Ray puts it together, where it would answer ``inner``."""
    (made,) = validate_http_proxy_callback_return(call_function_from_import_path(PROXY_CALLBACK))
    transport = httpx.ASGITransport(made.cls(inner, *made.args, **made.kwargs))
    async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
        return await client.get(path)


async def test_without_a_route_the_proxy_says_503_and_when_to_come_back():
    answer = await answer_of(PlainTextResponse("Path '/v1/models' not found.", 404, TOLD))
    body = answer.json()

    assert (answer.status_code, body["status"]) == (503, 503)
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert body["type"].endswith(":not-serving")
    assert body["request_id"] == answer.headers["x-request-id"] == "of-the-proxy"


async def test_the_open_inference_protocol_is_told_in_its_own_form():
    answer = await answer_of(PlainTextResponse("Path not found.", 404, TOLD), "/v2/models/toy")

    assert (answer.status_code, list(answer.json())) == (503, ["error"])


@pytest.mark.parametrize(
    "inner",
    [
        JSONResponse({"status": 404}, 404, media_type="application/problem+json"),
        JSONResponse({"error": "no such model"}, 404),
        PlainTextResponse("success"),
    ],
)
async def test_what_replicas_answer_passes_as_it_is(inner: Response):
    answer = await answer_of(inner)

    assert (answer.status_code, answer.content) == (inner.status_code, inner.body)
    assert answer.headers["content-type"] == inner.headers["content-type"]
