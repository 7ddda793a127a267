"""Where a newcomer begins: the root of the service."""

from pathlib import Path

import httpx

import xaiserve
from tests.serve.test_results import running
from xaiserve.serve.replicas.classifier import ClassifierServer

UNDOCUMENTED = {"/docs", "/openapi.json"}


async def test_every_link_of_the_index_answers_and_is_documented(
    server: ClassifierServer, tmp_path: Path
):
    async with running(server, tmp_path) as client:
        index = (await client.get("/")).json()
        document = (await client.get("/openapi.json")).json()
        answers = {path: await client.get(path) for path in index["links"].values()}

    assert (index["name"], index["version"]) == ("xaiserve", xaiserve.__version__)
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(
        index["links"].values(), 200
    )
    assert set(answers) - set(document["paths"]) == UNDOCUMENTED
    assert "/" in document["paths"]
    assert "/v1/results" in answers


async def test_the_index_names_only_what_this_service_has(client: httpx.AsyncClient):
    links = (await client.get("/")).json()["links"]

    assert links["models"] == "/v1/models"
    assert not {"results", "jobs"} & set(links)
