"""One toy model behind the real routes, without Ray."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
import pytest_asyncio
import torch

from xaiserve.models.preparing import prepare
from xaiserve.serve.config import Budget, Queue, Uploads
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.storage.pictures import decode, encode_png
from xaiserve.testing.toys import ToyClassifier, any_classifier, toy_image, toy_spec
from xaiserve.types import Image

PATCHES = [(2, 8, 2, 8), (14, 20, 14, 20)]
UPLOADS = Uploads(max_bytes=20_000, max_side=400, max_pixels=40_000)
BUDGET = Budget(seconds=20, max_seconds=30, max_inputs=5000)
QUEUE = Queue(running=2, waiting=1, predicts=2, retry_after_s=3)


@dataclass(frozen=True)
class Toy:
    """A picture as a file and as an image, and a model that looks for two patches of it."""

    png: bytes
    image: Image
    classifier: ToyClassifier


def make_toy() -> Toy:
    values = (toy_image().permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    png = encode_png(values)
    image, _ = prepare(decode(png), toy_spec(torch.zeros(3, 24, 24)))
    return Toy(png, image, any_classifier(image, PATCHES))


@pytest.fixture
def toy() -> Toy:
    return make_toy()


@pytest.fixture
def server(toy: Toy) -> Iterator[ClassifierServer]:
    made = ClassifierServer(
        toy.classifier, queue=QUEUE, limits=UPLOADS.limits, draw=lambda *_, **__: b"drawn"
    )
    yield made
    made.close()


def client_of(service: Service) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_ingress(service), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://toy")


@pytest_asyncio.fixture
async def client(server: ClassifierServer) -> AsyncIterator[httpx.AsyncClient]:
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as made:
        yield made
