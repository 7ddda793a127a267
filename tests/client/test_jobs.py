"""Jobs through the client, against the real routes on a cluster that starts nothing."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.serve.conftest import BUDGET, QUEUE, UPLOADS, make_toy
from tests.serve.live import listening
from tests.serve.test_jobs import MODELS, Cluster
from xaiserve.client import AsyncClient, Client, Job, JobWish, ServiceError
from xaiserve.dispatch.owner import Owner
from xaiserve.dispatch.owning import FOLDER
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.errors import ConflictError, InvalidInputError, NotFoundError
from xaiserve.pipelines.progress import Progress
from xaiserve.serve.bodies.jobs import JobRequest
from xaiserve.serve.ingress import build_ingress
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Jobs as JobSettings
from xaiserve.storage import leases
from xaiserve.storage.local import LocalStore


class Place:
    """A service that hands jobs to a cluster, and a folder for their rows."""

    def __init__(self, folder: Path, server: ClassifierServer) -> None:
        self.cluster = Cluster()
        self.out = folder / "out"
        settings = JobSettings(images=("s3://ours/in",), outputs=(str(folder),))
        jobs = Jobs(settings, MODELS, connect=lambda _: self.cluster)
        self.app = build_ingress(
            Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET, jobs=jobs)
        )

    def wish(self, **more: Any) -> Any:
        known = {"kind": "explain", "images": "s3://ours/in/set.csv", "model": "toy"}
        return known | {"methods": ["rise"], "out": str(self.out), **more}

    def publish(self, done: int) -> None:
        store = LocalStore(self.out)
        leases.take(store, FOLDER, store.describe(FOLDER), Owner.of(os.getpid()).to_json())
        told = Progress(state="running", total=10, done=done, failed=1, per_second=2.0)
        (self.out / PROGRESS).write_bytes(told.to_json())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    server = ClassifierServer(
        make_toy().classifier, queue=QUEUE, limits=UPLOADS.limits, draw=lambda *_, **__: b""
    )
    yield Place(tmp_path, server)
    server.close()


@pytest.fixture
def client(place: Place) -> Iterator[Client]:
    with listening(place.app) as url, Client(url, sleep=lambda _: end_later(place)) as made:
        yield made


@pytest_asyncio.fixture
async def waiting(place: Place) -> AsyncIterator[AsyncClient]:
    async def sleep(_: float) -> None:
        end_later(place)

    transport = httpx.ASGITransport(place.app)
    async with AsyncClient("http://toy", transport=transport, sleep=sleep) as made:
        yield made


def end_later(place: Place) -> None:
    """Let the job come as far as 4 of 10, then end it: what happens while a client waits."""
    if not place.out.exists():
        place.publish(4)
    else:
        place.cluster.end("job-0")


def test_a_job_is_submitted_looked_at_listed_and_cancelled(client: Client, place: Place):
    job = client.submit_job(**place.wish(scores=["insertion"], parameters={"rise": {"samples": 9}}))
    same = client.submit_job(
        **place.wish(scores=["insertion"], parameters={"rise": {"samples": 9}})
    )
    place.publish(4)
    seen = client.job(job.id)

    assert (job.id, job.state, job.out, job.progress) == ("job-0", "running", str(place.out), None)
    assert same == job
    assert "--scores insertion" in place.cluster.lines[0]
    assert "rise.samples=9" in place.cluster.lines[0]
    assert seen.progress is not None
    assert (seen.progress.done, seen.progress.total, seen.progress.failed) == (4, 10, 1)
    assert (seen.progress.per_second, seen.progress.seconds_left) == (2.0, 3.0)
    assert client.jobs() == (seen,)
    assert client.job_logs("job-0") == "job-0 has written this\n"
    assert not client.cancel_job("job-0").ended  # it was asked to end, and publishes what it has


def test_a_job_is_waited_for_and_tells_how_far_it_is(client: Client, place: Place):
    heard: list[Job] = []
    job = client.wait_for_job(client.submit_job(**place.wish()).id, tell=heard.append)

    assert (job.state, job.ended) == ("succeeded", True)
    assert [each.progress and each.progress.done for each in heard] == [None, 4, 4]


async def test_the_asynchronous_client_does_the_same(waiting: AsyncClient, place: Place):
    job = await waiting.submit_job(**place.wish())
    ended = await waiting.wait_for_job(job.id)

    assert (ended.id, ended.state) == ("job-0", "succeeded")
    assert await waiting.jobs() == (await waiting.job("job-0"),)
    assert await waiting.job_logs("job-0") == "job-0 has written this\n"
    assert await waiting.cancel_job("job-0") == ended


def test_what_is_wrong_with_a_job_is_an_error_of_our_tree(client: Client, place: Place):
    with pytest.raises(InvalidInputError, match="out must lie"):
        client.submit_job(**place.wish(out="/elsewhere"))
    with pytest.raises(InvalidInputError, match="scores"):
        client.submit_job(**place.wish(scores=["magic"]))
    with pytest.raises(NotFoundError, match="'other'"):
        client.submit_job(**place.wish(model="other"))
    with pytest.raises(NotFoundError, match="'none'"):
        client.wait_for_job("none")
    client.submit_job(**place.wish())
    with pytest.raises(ConflictError, match="job-0"):
        client.submit_job(**place.wish(seed=1))


def test_a_service_that_runs_no_jobs_is_asked_once():
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        problem = {"type": "urn:xaiserve:problem:no-jobs", "title": "T", "detail": "names no place"}
        return httpx.Response(503, json=problem)

    with (
        Client("http://toy", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(ServiceError, match="names no place"),
    ):
        client.jobs()
    assert len(asked) == 1


def test_a_wish_has_the_members_that_the_service_takes():
    required = {name for name, each in JobRequest.model_fields.items() if each.is_required()}

    assert set(JobWish.__annotations__) == set(JobRequest.model_fields)
    assert JobWish.__required_keys__ == required
