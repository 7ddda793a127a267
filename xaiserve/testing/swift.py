"""A real S3 server on this machine: OpenStack Swift with its S3 layer, four processes.

Unlike a double it refuses wrong secrets, keeps its objects over a restart, and can be killed. All
it has lies in one folder, which must be on a file system with extended attributes; its path must
be short. Create-once (``If-None-Match: *``) works, but only looks before it writes: of several who
create at the same moment more than one is told 200. ``If-Match`` and versioning do not work.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ACCESS_KEY: Final = "test:tester"
SECRET_KEY: Final = "testing"  # noqa: S105 -- of a server that lives as long as a test
START_S: Final = 60.0

_SERVERS: Final = ("account", "container", "object")
_SWIFT_CONF: Final = "[swift-hash]\nswift_hash_path_suffix = s\nswift_hash_path_prefix = p\n"
_DEFAULTS: Final = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
workers = 0
log_level = ERROR
"""
_STORAGE: Final = """
[pipeline:main]
pipeline = {name}-server

[app:{name}-server]
use = egg:swift#{name}
"""
_RINGS: Final = """
import sys
from swift.common.ring import RingBuilder

for server in sys.argv[2:]:
    name, _, port = server.partition("=")
    builder = RingBuilder(4, 1, 1)
    place = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1"}
    builder.add_dev(place | {"weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""
_PROXY: Final = f"""
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
error_suppression_interval = 0

[filter:catch_errors]
use = egg:swift#catch_errors

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1

[filter:listing_formats]
use = egg:swift#listing_formats

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {SECRET_KEY} .admin

[filter:copy]
use = egg:swift#copy

[filter:slo]
use = egg:swift#slo
"""


class SwiftServer:
    """A server that can be killed and started again over the same objects.

    Parameters
    ----------
    folder
        An empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {name: _free_port() for name in (*_SERVERS, "proxy")}
        self._processes: list[subprocess.Popen[bytes]] = []
        _write_files(folder, self._ports)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports['proxy']}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs in its environment to use the server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def start(self) -> None:
        """Start all processes and return when buckets can be listed.

        Raises
        ------
        TimeoutError
            That takes more than a minute.
        """
        for name, port in self._ports.items():
            program = Path(sys.executable).with_name(f"swift-{name}-server")
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen(  # noqa: S603 -- our own command
                        [program, self._folder / f"{name}.conf"],
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            # The proxy comes last: it takes a server that it has not reached for broken.
            self._wait(partial(_knock, port))
        self._wait(self._client().list_buckets)

    def kill(self) -> None:
        """End all processes at once, in the middle of whatever they do."""
        for process in self._processes:
            os.killpg(process.pid, signal.SIGKILL)
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def make_bucket(self, name: str) -> None:
        self._client().create_bucket(Bucket=name)

    def _client(self) -> Any:  # Any: boto3 makes its classes at run time
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
        )

    def _wait(self, ask: Callable[[], object]) -> None:
        until = time.monotonic() + START_S
        while True:
            try:
                ask()
            except (OSError, BotoCoreError, ClientError) as error:
                if time.monotonic() > until:
                    logs = "".join(log.read_text() for log in self._folder.glob("*.log"))
                    raise TimeoutError(f"Swift has not started: {error}\n{logs}") from error
                time.sleep(0.1)
            else:
                return


@contextmanager
def swift_server(folder: Path) -> Iterator[SwiftServer]:
    """Run a server that leaves no process behind."""
    server = SwiftServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _write_files(folder: Path, ports: Mapping[str, int]) -> None:
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(_SWIFT_CONF, encoding="utf-8")
    for name, port in ports.items():
        rest = _PROXY if name == "proxy" else _STORAGE.format(name=name)
        if name == "object":
            # A slow machine must not delay listings.
            rest += "container_update_timeout = 30\n"
        text = _DEFAULTS.format(port=port, folder=folder) + rest
        (folder / f"{name}.conf").write_text(text, encoding="utf-8")
    # Not imported here: swift's modules put eventlet's threads in the place of Python's.
    words = [str(folder), *(f"{name}={ports[name]}" for name in _SERVERS)]
    subprocess.run([sys.executable, "-c", _RINGS, *words], check=True)  # noqa: S603


def _knock(port: int) -> None:
    """Raise `OSError` unless a server listens."""
    socket.create_connection(("127.0.0.1", port)).close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
