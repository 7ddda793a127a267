"""The translator deployment on a real Ray: asked by handle, batched, killed."""

import base64
import socket
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import ray
from pydantic import PydanticDeprecatedSince20

from xaiserve.api import load_case
from xaiserve.contrasts.base import with_contrasts
from xaiserve.contrasts.opening import ContrastSettings, open_provider
from xaiserve.data.dataset import png
from xaiserve.data.planted import planted_samples
from xaiserve.models.loading import load_classifier
from xaiserve.report.drawing import to_picture
from xaiserve.serve.config import make_config
from xaiserve.storage.pictures import encode_png
from xaiserve.testing.translators import write_tiny_translator

with warnings.catch_warnings():
    # The settings of Ray Serve use what pydantic has deprecated, which shows on import.
    warnings.simplefilter("ignore", PydanticDeprecatedSince20)
    from xaiserve.serve.running import RunningService, start_service

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ACTOR = "SERVE_REPLICA::xaiserve#translator-lesions#"
FEW = {"samples": "60", "depth": "1", "exact_up_to": "0", "max_queries": "3000"}


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_translator(
        tmp_path_factory.mktemp("translated") / "gan", ("healthy", "diseased")
    )


@pytest.fixture(scope="module")
def service(translator: Path, cluster: None) -> Iterator[RunningService]:  # noqa: ARG001
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    model = {"source": "embedded", "batch_rows": 64, "translator": str(translator)}
    kept = {"store": str(translator.parent / "answers")}
    config = {"models": {"lesions": model}, "port": port, "answers": kept}
    running = start_service(make_config(config))
    yield running
    running.stop()


def pictures(count: int) -> list[bytes]:
    return [png(each.image) for each in planted_samples(0, count, diseased_only=True)]


def ask(service: RunningService, picture: bytes) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v1/explain",
        params={"model": "lesions", "method": "clear-image", **FEW},
        files={"image": ("a.png", picture)},
        timeout=120,
    )


def contrast_of(answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text
    (found,) = [each for each in answer.json()["overlays"] if each["kind"] == "contrast"]
    return base64.b64decode(found["data"])


def test_many_requests_have_the_contrasts_that_one_process_makes(
    service: RunningService, translator: Path
):
    model = load_classifier("embedded", threads=1, batch_rows=64)
    settings = ContrastSettings(translator=str(translator))
    provider = open_provider(settings, model.spec, model.scores)
    cases = with_contrasts(provider, [load_case(each, model) for each in pictures(4)])
    alone = [encode_png(to_picture(case.contrast.image)) for case in cases]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda each: ask(service, each), pictures(4)))

    assert [contrast_of(answer) for answer in answers] == alone
    card = httpx.get(f"{service.url}/v1/models/lesions", timeout=60).json()
    assert card["contrasts"] == ["gan", "upload", "blur", "inpaint"]


def test_a_killed_translator_is_503_until_it_is_back(service: RunningService):
    (picture,) = pictures(1)
    assert ask(service, picture).status_code == 200
    for found in ray.util.list_named_actors(all_namespaces=True):
        if found["name"].startswith(ACTOR):
            ray.kill(ray.get_actor(found["name"], namespace=found["namespace"]))

    statuses = []
    until = time.monotonic() + 120
    while time.monotonic() < until and statuses[-1:] != [200]:
        answer = ask(service, picture)
        statuses.append(answer.status_code)
        assert answer.status_code in {200, 503}, answer.text

    assert statuses[-1] == 200
