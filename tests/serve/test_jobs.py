import json
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.serve.conftest import BUDGET, UPLOADS, client_of
from xaiserve.cli.submit import command
from xaiserve.dispatch.cancelling import MARK
from xaiserve.dispatch.owning import owned
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.dispatch.submission import JobServer, SubmittedJob
from xaiserve.errors import CapacityError, InvalidInputError, NotFoundError
from xaiserve.metrics.deletion import SCORES
from xaiserve.pipelines.progress import Progress
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.routes.jobs import MAX_BYTES
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Jobs as JobSettings
from xaiserve.storage.local import LocalStore


class Cluster(JobServer):
    """A job server that starts nothing."""

    def __init__(self) -> None:
        self.known: dict[str, SubmittedJob] = {}
        self.lines: list[str] = []

    def submit(self, entrypoint: str, *, out: str, fingerprint: str = "") -> str:
        name = f"job-{len(self.known)}"
        self.lines.append(entrypoint)
        self.known[name] = SubmittedJob(
            job_id=name, state="RUNNING", message="", out=out, fingerprint=fingerprint
        )
        return name

    def end(self, name: str, state: str = "SUCCEEDED") -> None:
        job = self.known[name]
        self.known[name] = SubmittedJob(
            job_id=name, state=state, message="", out=job.out, fingerprint=job.fingerprint
        )

    def jobs(self) -> list[SubmittedJob]:
        return [*self.known.values()]

    def find(self, job_id: str) -> SubmittedJob:
        if job_id not in self.known:
            raise NotFoundError(f"job {job_id!r} does not exist")
        return self.known[job_id]

    def stop(self, job_id: str) -> None:
        self.end(job_id, "STOPPED")

    def logs(self, job_id: str) -> str:
        return f"{job_id} has written this\n"


MODELS = {
    "toy": ModelSettings(source="embedded", precision="bf16", translator="made"),  # type: ignore[arg-type] -- the short form
    "own": ModelSettings(source="embedded", overrides={"labels": ["a", "b"]}),
}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest_asyncio.fixture
async def client(
    cluster: Cluster, server: ClassifierServer, tmp_path: Path
) -> AsyncIterator[httpx.AsyncClient]:
    settings = JobSettings(images=(f"{tmp_path}/images", "s3://ours/in"), outputs=(str(tmp_path),))
    known = Jobs(settings, MODELS, connect=lambda _: cluster)
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET, jobs=known)
    async with client_of(service) as made:
        yield made


def asked(folder: Path, **changes: object) -> dict[str, object]:
    job = {"kind": "explain", "images": "s3://ours/in/set.csv", "model": "toy"}
    return job | {"methods": ["rise", "lime"], "out": f"{folder}/out", **changes}


async def post(client: httpx.AsyncClient, folder: Path, **changes: object) -> httpx.Response:
    return await client.post("/v1/jobs", json=asked(folder, **changes))


async def test_a_job_becomes_a_command_line_that_the_command_takes(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path
):
    more = {"parameters": {"rise": {"samples": 100}}, "scores": ["insertion", "deletion"]}
    answer = await post(client, tmp_path, **more, workers=2)

    assert (answer.status_code, answer.headers["location"]) == (202, "/v1/jobs/job-0")
    python, dash_m, package, verb, *words = shlex.split(cluster.lines[0])
    assert (python, dash_m, package, verb) == (sys.executable, "-m", "xaiserve", "submit")
    given = command.make_context("submit", words).params
    assert (given["images"], given["named_model"]) == ("s3://ours/in/set.csv", "toy=embedded")
    assert (given["methods"], given["settings"]) == ("rise,lime", ("rise.samples=100",))
    assert given["scores"] == "insertion,deletion"
    assert (given["precision"], given["translator"], given["workers"]) == ("bf16", "made", 2)
    assert given["local"] is True


async def test_the_same_job_while_it_runs_is_that_job_and_later_goes_on(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path
):
    await post(client, tmp_path)
    same = await post(client, tmp_path, workers=3)
    cluster.end("job-0", "FAILED")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_job.json").write_text("{}")
    again = await post(client, tmp_path)

    assert (same.status_code, same.json()["id"]) == (200, "job-0")
    assert (again.status_code, again.json()["id"]) == (202, "job-1")


@pytest.mark.parametrize("ended", [False, True])
async def test_another_job_with_the_same_output_is_a_conflict(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path, ended: bool
):
    await post(client, tmp_path)
    if ended:
        cluster.end("job-0")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "_job.json").write_text("{}")
    answer = await post(client, tmp_path, seed=1)

    assert (answer.status_code, "job-0" in answer.json()["detail"]) == (409, True)


async def test_a_job_that_failed_before_it_began_leaves_its_place_free(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path
):
    await post(client, tmp_path, limit=1)
    cluster.end("job-0", "FAILED")

    assert (await post(client, tmp_path)).status_code == 202


@pytest.mark.parametrize(
    "changes",
    [
        {"images": "s3://theirs/set.csv"},
        {"images": "s3://ours/input"},
        {"images": "/etc"},
        {"images": "images"},
        {"images": "http://host/a.png"},
        {"images": "s3://ours/in/../other"},
        {"out": "s3://ours/out"},
        {"out": "/elsewhere"},
        {"model": "own"},
        {"parameters": {"occlusion": {"cells": 3}}},
        {"parameters": {"rise": {"samples": 0}}},
        {"tolerance_px": 3},
        {"scores": ["magic"]},
        {"scores": ["insertion", "insertion"]},
        {"methods": []},
        {"trust_code": True},
    ],
)
async def test_what_is_not_allowed_or_wrong_is_422_and_starts_nothing(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path, changes: dict
):
    assert (await post(client, tmp_path, **changes)).status_code == 422
    assert not cluster.lines


async def test_a_body_that_is_no_json_is_told_so(client: httpx.AsyncClient):
    head = {"content-type": "application/json"}
    answer = await client.post("/v1/jobs", content='{"kind": "explain"', headers=head)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("the body must be JSON: EOF while parsing")


async def test_the_same_rows_without_scores_are_another_job(
    client: httpx.AsyncClient, tmp_path: Path
):
    await post(client, tmp_path)

    assert (await post(client, tmp_path, scores=["deletion"])).status_code == 409


async def test_the_document_names_the_scores_that_a_job_may_ask(client: httpx.AsyncClient):
    route = (await client.get("/openapi.json")).json()["paths"]["/v1/jobs"]["post"]
    schema = route["requestBody"]["content"]["application/json"]["schema"]

    assert schema["properties"]["scores"]["items"]["enum"] == list(SCORES)


async def test_unknown_models_methods_and_jobs_are_not_found(
    client: httpx.AsyncClient, tmp_path: Path
):
    answers = [
        await post(client, tmp_path, model="other"),
        await post(client, tmp_path, methods=["x"]),
    ]
    answers += [await client.get(f"/v1/jobs/none{rest}") for rest in ("", "/logs")]
    answers += [await client.delete("/v1/jobs/none")]

    assert [answer.status_code for answer in answers] == [404] * 5


async def test_progress_and_logs_are_told(client: httpx.AsyncClient, tmp_path: Path):
    await post(client, tmp_path)
    before = (await client.get("/v1/jobs/job-0")).json()
    (tmp_path / "out").mkdir()
    progress = Progress(state="running", total=10, done=4, per_second=2.0)
    (tmp_path / "out" / PROGRESS).write_bytes(progress.to_json())
    with owned(LocalStore(tmp_path / "out")):
        (listed,) = (await client.get("/v1/jobs")).json()["jobs"]
    (dead,) = (await client.get("/v1/jobs")).json()["jobs"]

    assert (before["state"], before["progress"]) == ("running", None)
    assert (listed["progress"]["done"], listed["progress"]["seconds_left"]) == (4, 3.0)
    assert (listed["progress"]["state"], dead["progress"]["state"]) == ("running", "dead")
    assert (await client.get("/v1/jobs/job-0/logs")).text == "job-0 has written this\n"


async def test_a_running_job_is_asked_to_end_and_one_that_has_not_begun_is_stopped(
    client: httpx.AsyncClient, tmp_path: Path
):
    await post(client, tmp_path)
    stopped = await client.delete("/v1/jobs/job-0")
    await post(client, tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PROGRESS).write_bytes(Progress(state="running", total=10).to_json())
    with owned(LocalStore(tmp_path / "out")):
        ending = await client.delete("/v1/jobs/job-1")

    assert (stopped.status_code, stopped.json()["state"]) == (202, "stopped")
    assert ending.json()["state"] == "running"
    assert (tmp_path / "out" / MARK).exists()


async def test_without_a_cluster_that_runs_jobs_it_is_503_with_the_reason(
    server: ClassifierServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    def absent(address: str) -> JobServer:
        raise InvalidInputError(f"address {address} answers no Ray job server")

    details, linked = [], []
    for outputs in ((), (str(tmp_path),)):
        known = Jobs(JobSettings(outputs=outputs), MODELS, connect=absent)
        service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET, jobs=known)
        async with client_of(service) as client:
            answer = await client.get("/v1/jobs")
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (
                503,
                "no-jobs",
            )
            details.append(answer.json()["detail"])
            linked.append("jobs" in (await client.get("/")).json()["links"])

    assert "jobs.outputs" in details[0]
    assert "does not take them now" in details[1]
    address = JobSettings().address
    assert address not in details[1]  # it is the operator's, not the caller's
    assert f"address {address} answers no Ray job server" in caplog.text
    assert linked == [False, True]


async def test_a_cluster_that_is_lost_later_is_503_and_named_to_nobody(
    client: httpx.AsyncClient,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    place = "http://10.0.0.5:8265"
    for error in (
        InvalidInputError(f"address {place} answers no Ray job server"),
        CapacityError(f"no agent of the cluster at {place} runs jobs", retry_after_s=60),
        RuntimeError(f"Request failed with status code 500: {place}"),
    ):

        def lost(*_: object, error: Exception = error, **__: object) -> str:
            raise error

        monkeypatch.setattr(cluster, "submit", lost)
        answer = await post(client, tmp_path)
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "no-jobs")
        assert place not in answer.text
        assert str(error) in caplog.text

    def unknown(job_id: str) -> SubmittedJob:
        raise NotFoundError(f"job {job_id!r} does not exist on {place}")

    monkeypatch.setattr(cluster, "find", unknown)
    absent = await client.get("/v1/jobs/absent")
    assert (absent.status_code, absent.json()["detail"]) == (404, "job 'absent' does not exist")


async def test_a_description_that_is_too_long_or_impossible_is_refused(
    client: httpx.AsyncClient, cluster: Cluster, tmp_path: Path
):
    long = await client.post("/v1/jobs", content=b" " * (MAX_BYTES + 1))
    odd = await post(client, tmp_path, out=f"{tmp_path}/out\0")
    endless = await client.post(
        "/v1/jobs", content=json.dumps(asked(tmp_path, gpus=float("inf"))).encode()
    )

    assert [each.status_code for each in (long, odd, endless)] == [413, 422, 422]
    assert "gpus" in endless.json()["detail"]
    assert not cluster.lines
