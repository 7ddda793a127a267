"""Services of one process one after the other, and one behind Serve's proxy in C."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "variables"),
    [(["first", "second"], {}), (["behind"], {"RAY_SERVE_ENABLE_HA_PROXY": "1"})],
)
def test_every_service_of_a_process_answers(tmp_path, names, variables):
    script = tmp_path / "services.py"
    script.write_text(SCRIPT)
    found = subprocess.run(
        [sys.executable, str(script), *names],
        env=os.environ | variables,  # noqa: TID251 -- passed on
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert found.stdout.splitlines() == [str([name]) for name in names], found.stderr
