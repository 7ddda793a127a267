"""A service in production, on a real Ray: scaled to zero and back, updated under load, watched."""

import itertools
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import httpx
import pytest
import ray
from moto.server import ThreadedMotoServer
from pydantic import PydanticDeprecatedSince20

from tests.serve.test_running import ask, free_port, picture, write_model
from xaiserve.dispatch.metrics import JOB_ROWS, Metric
from xaiserve.pipelines import explain
from xaiserve.pipelines.cluster import Placement
from xaiserve.serve.access.keys import add_key, make_key, utc_now
from xaiserve.serve.config import ServiceConfig, make_config
from xaiserve.serve.observing.metrics import METRICS, MODEL_EVICTIONS
from xaiserve.testing.jobs import write_images

with warnings.catch_warnings():
    # The settings of Ray Serve use what pydantic has deprecated, which shows on import.
    warnings.simplefilter("ignore", PydanticDeprecatedSince20)
    from ray import serve

    from xaiserve.serve.app import build_app
    from xaiserve.serve.running import APPLICATION, RunningService, start_service

pytestmark = [
    pytest.mark.ray,
    # Serve wants it longer than the reports' default interval, which is set shorter here.
    pytest.mark.filterwarnings("ignore:.look_back_period_s:FutureWarning"),
]

PATIENCE_S = 120
BUCKET = "answers"
QUICK = {
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.2",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.2",
    "RAY_metrics_report_interval_ms": "2000",
}


class Running:
    """The service, its settings, and a client with a key."""

    def __init__(self, folder: Path) -> None:
        text, key = make_key("tests", now=utc_now())
        add_key(folder / "keys.json", key)
        quick = {"upscale_delay_s": 0.2, "downscale_delay_s": 5, "look_back_s": 2.0}
        quick |= {"downscale_to_zero_delay_s": 5, "target_inputs": 50}
        model = str(write_model(folder / "model"))
        self.metrics_port = free_port()
        self.settings = {
            "models": {
                "toy": {"source": model, "batch_rows": 64, "cpus": 0.1, "replicas": 2},
                "large": {
                    "source": str(write_model(folder / "large", 256)),
                    "batch_rows": 64,
                    "cpus": 0.1,
                    "autoscaling": {"min": 0, "max": 2, **quick},
                },
            },
            "on_demand": {
                "memory_bytes": 100,
                "models": {
                    name: {"source": model, "batch_rows": 64, "memory_bytes": 60}
                    for name in ("first", "second")
                },
                "cpus": 0.1,
            },
            "port": free_port(),
            "metrics_port": self.metrics_port,
            "access": {"keys": str(folder / "keys.json")},
            "answers": {"cache_bytes": 0, "store": f"s3://{BUCKET}/kept"},
        }
        self.service: RunningService = start_service(self.config())
        headers = {"Authorization": f"Bearer {text}"}
        self.client = httpx.Client(base_url=self.service.url, timeout=300, headers=headers)

    def config(self, **changes: object) -> ServiceConfig:
        return make_config(self.settings | changes)

    def close(self) -> None:
        self.client.close()
        self.service.stop()

    def replicas(self, name: str = "large") -> int:
        found = serve.status().applications[APPLICATION].deployments
        return found[f"classifier-{name}"].replica_states.get("RUNNING", 0)


@contextmanager
def bucket() -> Iterator[dict[str, str]]:
    """Keep an empty bucket on this machine; yields the variables by which it is found."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    finally:
        server.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with bucket() as found, pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUICK, **found}.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        made = Running(tmp_path_factory.mktemp("operated"))
        try:
            yield made
        finally:
            made.close()
            ray.shutdown()


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"never within {PATIENCE_S} s: {what}")
        time.sleep(0.1)


def test_an_idle_model_ends_and_comes_back_for_the_next_request(running: Running):
    until(lambda: running.replicas() == 0, "no replica of an idle model")
    assert running.client.get("/readyz").status_code == 200
    assert running.replicas() == 0

    answers = [predict(running)]
    until(lambda: answers[-1].status_code == 200 or retried(running, answers), "an answer")
    assert answers[-1].json()["decided"] == [{"index": 1, "label": "light"}]


def predict(running: Running) -> httpx.Response:
    return running.client.post("/v1/predict?model=large", files={"image": picture()})


def retried(running: Running, answers: list[httpx.Response]) -> bool:
    """Ask again, as a client does that was told to: a slow machine starts a replica slowly."""
    assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (503, "5")
    answers.append(predict(running))
    return False


class Load:
    """Clients that ask without a pause until told to stop, and what they were answered."""

    def __init__(self, ask: Callable[[int, int], httpx.Response], clients: int) -> None:
        self._ask = ask
        self._ended = threading.Event()
        self.statuses: list[int | str] = []
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        for asked in itertools.count():
            if self._ended.is_set():
                return
            try:
                self.statuses.append(self._ask(number, asked).status_code)
            except httpx.HTTPError as error:
                self.statuses.append(repr(error))

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


def test_work_that_waits_gets_more_replicas_and_none_when_it_is_done(running: Running):
    def explain(_: int, asked: int) -> httpx.Response:
        options = {"method": "rise", "samples": "100000", "max_seconds": "20"}
        return ask(running.client, "large", seed=str(asked), **options)

    load = Load(explain, clients=4)
    try:
        until(lambda: running.replicas() == 2, "two replicas under load")
    finally:
        load.stop()
    until(lambda: running.replicas() == 0, "no replica after the work")


def test_a_rolling_update_under_load_loses_no_request(running: Running):
    def rows() -> int:
        return int(running.client.get("/v1/models/toy").json()["batch_rows"])

    assert rows() == 64

    def question(number: int, asked: int) -> httpx.Response:
        if number % 2:
            options = {"method": "occlusion", "cells": "6", "seed": str(number * 10_000 + asked)}
            return ask(running.client, **options)
        return running.client.post("/v1/predict?model=toy", files={"image": picture()})

    load = Load(question, clients=4)
    until(lambda: len(load.statuses) > 20, "answers before the update")
    models = dict(running.settings["models"])
    models["toy"] = {**models["toy"], "batch_rows": 32}
    changed = running.config(models=models, budget={"seconds": 20, "max_seconds": 40})
    serve.run(build_app(changed), name=APPLICATION)
    before = len(load.statuses)
    until(lambda: len(load.statuses) > before + 20, "answers after the update")
    load.stop()

    assert {status: load.statuses.count(status) for status in set(load.statuses)} == {
        200: len(load.statuses)
    }
    assert rows() == 32


def test_models_on_demand_take_turns_in_a_budget_that_holds_one(running: Running):
    def answer(name: str) -> httpx.Response:
        return ask(running.client, name, method="occlusion", cells="4", saliency="true")

    here = answer("toy").json()
    told = [answer(name) for name in ("first", "second", "first")]
    beside = Load(lambda number, _: answer(("first", "second")[number]), clients=2)
    until(lambda: beside.statuses.count(200) > 6, "answers while both are asked for")
    beside.stop()

    assert [each.status_code for each in told] == [200] * 3
    assert [each.json()["saliency"] for each in told] == [here["saliency"]] * 3
    assert set(beside.statuses) <= {200, 429}  # the other model is at work
    until(lambda: exported(running, MODEL_EVICTIONS, model="first") >= 1, "an eviction")


def exported(running: Running, metric: Metric, **labels: str) -> float:
    """Read a counter in Ray's exporter, over all processes that count."""
    text = httpx.get(f"http://127.0.0.1:{running.metrics_port}/metrics").text
    found = [line for line in text.splitlines() if line.startswith(f"{metric.exported[0]}{{")]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(line.rpartition(" ")[2]) for line in found if all(w in line for w in wanted))


@pytest.mark.s3
def test_results_for_later_are_kept_in_a_bucket(running: Running):
    options = {"method": "occlusion", "cells": "5", "saliency": "true"}
    at_once = ask(running.client, **options).json()
    key = {"Idempotency-Key": "one"}
    accepted, again = (
        running.client.post(
            "/v1/explain",
            params={"model": "toy", **options, "async": "true"},
            files={"image": ("a.png", picture())},
            headers=key,
        )
        for _ in range(2)
    )
    assert (accepted.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == accepted.json()["id"]

    place = accepted.headers["location"]
    until(lambda: running.client.get(place).status_code == 200, "the result")
    result = running.client.get(place).json()
    assert (result["saliency"], result["scores"]) == (at_once["saliency"], at_once["scores"])

    kept = boto3.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="kept/")["Contents"]
    assert any(accepted.json()["id"] in each["Key"] for each in kept)
    assert running.client.delete(place).status_code == 204
    assert running.client.get(place).status_code == 404


def test_ray_exports_what_we_count(running: Running):
    needed = {metric.name for metric in METRICS if metric.labels in {("model",), ("path",)}}
    needed -= {"xaiserve_repeated_questions"}  # none was
    needed |= {"serve_deployment_replica_healthy"}
    seen: set[str] = set()

    def seen_all() -> bool:
        """Look again: a gauge is exported in the intervals in which it was set."""
        text = httpx.get(f"http://127.0.0.1:{running.metrics_port}/metrics").text
        seen.update(name for name in needed if f"ray_{name}" in text)
        return seen == needed

    until(seen_all, "every metric in the exporter")


def test_rows_of_a_job_are_exported(running: Running, tmp_path: Path):
    manifest = write_images(tmp_path / "images", 3)
    (tmp_path / "images" / "001.png").write_bytes(b"no picture")
    config = explain.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(running.settings["models"]["toy"]["source"]),
        methods=("occlusion",),
    )
    assert explain.run(config, Placement(workers=1), lambda _: None).totals.failed == 1

    def rows(status: str) -> float:
        return exported(running, JOB_ROWS, explainer="occlusion", status=status)

    until(lambda: (rows("ok"), rows("error")) == (2, 1), "the rows in the exporter")


def test_a_request_without_a_key_goes_no_further(running: Running):
    answer = httpx.get(f"{running.service.url}/v1/models")

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert len(answer.headers.get_list("x-request-id")) == 1
    named = running.client.get("/v1/models/absent", headers={"X-Request-ID": "mine-1"})
    assert named.json()["request_id"] == named.headers["x-request-id"] == "mine-1"
