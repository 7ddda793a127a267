"""What a running service does when its processes are killed and its clients hang up, under load."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.serve.test_running import RunningService, free_port, picture, start_service, write_model
from xaiserve.serve.config import make_config

CLIENTS = 6
SHORT = {"method": "rise", "samples": "300", "overlay": "false", "max_seconds": "250"}
"""About a second on the model."""

LONG = {"method": "rise", "samples": "100000", "max_seconds": "200"}
"""Takes minutes."""

MEMORY_BYTES = 64 << 20
"""What the allocator may keep."""


@pytest.fixture(scope="module")
def service(
    cluster: None,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("fire")
    source = write_model(folder / "model", 256)
    config = {
        "models": {"large": {"source": str(source), "batch_rows": 64}},
        "queue": {"running": 4, "waiting": 32},
        "answers": {"store": str(folder / "answers")},
        "port": free_port(),
    }
    running = start_service(make_config(config))
    yield running
    running.stop()


def replica(part: str) -> psutil.Process:
    """Find a replica among this test's own processes."""
    for process in psutil.Process().children(recursive=True):
        name = " ".join(process.cmdline())
        if "ServeReplica" in name and part in name:
            return process
    raise LookupError(part)


def ask(service: RunningService, **options: str) -> httpx.Response:
    return httpx.post(
        f"{service.url}/v1/explain",
        params={"model": "large", **SHORT, **options},
        files={"image": ("a.png", picture())},
        timeout=300,
    )


def hang_up(service: RunningService, after: Callable[[], object], **options: str) -> None:
    """Ask, wait for what ``after`` waits for, and go without reading the answer."""
    body = picture()
    query = "&".join(f"{key}={value}" for key, value in {**LONG, **options}.items())
    head = (
        f"POST /v1/explain?model=large&{query} HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.config.port)) as line:
        line.sendall(head.encode() + body)
        after()


def in_flight(service: RunningService) -> int:
    return int(httpx.get(f"{service.url}/v1/models/large", timeout=60).json()["in_flight"])


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@pytest.mark.ray
def test_requests_outlive_the_replica_that_worked_on_them(service: RunningService):
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(ask, service, seed=str(seed)) for seed in range(CLIENTS)]
        until(lambda: in_flight(service) > 1)
        replica("classifier-large").kill()
        answers = [each.result() for each in asked]

    assert [answer.status_code for answer in answers] == [200] * CLIENTS
    assert all(answer.json()["complete"] for answer in answers)


@pytest.mark.ray
def test_streams_outlive_the_replica_and_tell_nothing_twice(service: RunningService):
    def kill_once(line: str, killed: threading.Event) -> None:
        if line == "event: progress" and not killed.is_set():
            killed.set()
            replica("classifier-large").kill()

    killed, names = threading.Event(), []
    with httpx.stream(
        "POST",
        f"{service.url}/v1/explain",
        params={"model": "large", **SHORT, "seed": "77", "stream": "true"},
        files={"image": ("a.png", picture())},
        timeout=300,
    ) as answer:
        for line in answer.iter_lines():
            kill_once(line, killed)
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))

    assert killed.is_set()
    assert names[-1] == "final"
    assert names.count("final") == 1


@pytest.mark.ray
def test_clients_that_hang_up_leave_nothing_behind(service: RunningService):
    def storm(first: int) -> None:
        with ThreadPoolExecutor(CLIENTS) as clients:
            gone = [
                clients.submit(
                    hang_up,
                    service,
                    lambda: until(lambda: in_flight(service) > 0),
                    seed=str(first + index),
                    stream=("true", "false")[index % 2],
                )
                for index in range(2 * CLIENTS)
            ]
            for each in gone:
                each.result()
        until(lambda: in_flight(service) == 0)

    def own_bytes() -> int:
        """Measure without what is shared: Ray's object store is mapped, and not its own."""
        return int(replica("classifier-large").memory_full_info().uss)

    for first in (1000, 2000):  # every thread has its own arena, and fills it once
        storm(first)
    before = own_bytes()
    for first in (3000, 4000, 5000):
        storm(first)

    assert own_bytes() < before + MEMORY_BYTES
    assert ask(service, seed="9000").json()["complete"]


@pytest.mark.ray
def test_who_shares_a_search_gets_its_answer_though_the_first_hangs_up(service: RunningService):
    same = {**SHORT, "samples": "3000", "seed": "5000"}
    with ThreadPoolExecutor(1) as clients:

        def join() -> None:
            until(lambda: in_flight(service) == 1)
            second.append(clients.submit(ask, service, **same))
            # The second has joined when its picture is read: a predict behind it is answered then.
            for _ in range(5):
                in_flight(service)

        second: list = []
        hang_up(service, join, **same)
        answer = second[0].result()

    assert (answer.status_code, answer.json()["complete"]) == (200, True)


@pytest.mark.ray
def test_an_accepted_result_outlives_the_process_that_accepted_it(service: RunningService):
    accepted = ask(service, seed="6000", samples="2000", **{"async": "true"})
    assert accepted.status_code == 202
    url = service.url + accepted.headers["location"]
    until(lambda: httpx.get(url).json()["state"] == "running")
    replica("Ingress").kill()

    def ended() -> bool:
        try:
            return httpx.get(url, timeout=60).status_code == 200
        except httpx.TransportError:  # nobody answers while the process is replaced
            return False

    until(ended)
    assert httpx.get(url).json()["seed"] == 6000
