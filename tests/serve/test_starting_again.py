"""A service in a process that has had one before."""

import subprocess
import sys

import pytest

SCRIPT = """
import socket
import httpx
from xaiserve.serve.config import make_config
from xaiserve.serve.running import start_service

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

if __name__ == "__main__":
    for name in ("first", "second"):
        service = start_service(make_config({"models": {name: "embedded"}, "port": free_port()}))
        try:
            print(httpx.get(f"{service.url}/readyz").json()["models"])
        finally:
            service.stop()
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_service_can_follow_another_in_one_process(tmp_path):
    script = tmp_path / "twice.py"
    script.write_text(SCRIPT)
    found = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=240, check=False
    )
    assert found.stdout.splitlines() == ["['first']", "['second']"], found.stderr
