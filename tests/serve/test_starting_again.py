"""Services of one process one after the other, and one behind Serve's proxy in C."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import socket
import sys
import httpx
from xaiserve.serve.config import make_config
from xaiserve.serve.running import start_service

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

if __name__ == "__main__":
    for name in sys.argv[1:]:
        service = start_service(make_config({"models": {name: "embedded"}, "port": free_port()}))
        try:
            print(httpx.get(f"{service.url}/readyz").json()["models"])
        finally:
            service.stop()
"""


def run(script: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,  # noqa: TID251 -- passed on
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


STOPPING = """
import sys
import threading
from pathlib import Path
import httpx

def ask():
    asked = {"model": "large", **LONG, "max_seconds": "20"}
    answers.append(client.post("/v1/explain", params=asked, files={"image": picture()}))

if __name__ == "__main__":  # what is above it is imported by the process that tries models
    from tests.serve.test_running import LONG, free_port, picture, write_model
    from xaiserve.serve.config import make_config
    from xaiserve.serve.running import start_service
    config = {"models": {"large": str(write_model(Path(sys.argv[1]), 224))}, "port": free_port()}
    config["answers"] = {"cache_bytes": 0}
    service = start_service(make_config(config))
    client, answers = httpx.Client(base_url=service.url, timeout=120), []
    threads = [threading.Thread(target=ask), threading.Thread(target=service.stop)]
    threads[0].start()
    while client.get("/v1/models/large").json()["in_flight"] == 0:
        assert threads[0].is_alive()
    threads[1].start()
    while (refused := client.get("/v1/models")).status_code == 200:
        assert threads[0].is_alive()
    for thread in threads:
        thread.join()
    print(refused.status_code, refused.json()["type"], refused.headers["retry-after"])
    print(answers[0].status_code, answers[0].json()["complete"])
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_service_that_stops_says_so_and_answers_what_it_has_accepted(tmp_path):
    script = tmp_path / "stopping.py"
    script.write_text(STOPPING)
    found = run(script, str(tmp_path / "model"))
    assert found.stdout.splitlines() == [
        "503 urn:xaiserve:problem:not-serving 5",
        "200 False",
    ], found.stderr


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "variables"),
    [(["first", "second"], {}), (["behind"], {"RAY_SERVE_ENABLE_HA_PROXY": "1"})],
)
def test_every_service_of_a_process_answers(tmp_path, names, variables):
    script = tmp_path / "services.py"
    script.write_text(SCRIPT)
    found = run(script, *names, **variables)
    assert found.stdout.splitlines() == [str([name]) for name in names], found.stderr
