"""What every test gets: shapes checked, no cluster without its marker, no network but loopback."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "NO_COLOR": "1",
}.items():
    os.environ.setdefault(_name, _value)  # noqa: TID251 -- before Ray is imported

# The hook takes its checker by name; ours accepts an int where a float is asked for (PEP 484).
_checker = ModuleType("shape_checker")
_checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules["shape_checker"] = _checker
_hook = install_import_hook("xaiserve", "shape_checker.check")

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real classifiers and images, which a checkout may lack."""
    if not DATA.is_dir():
        pytest.skip(f"real classifiers and images are absent: no folder {DATA}")
    return DATA


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what services keep, unless told where, out of the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_clients() -> Iterator[None]:
    """Forget clients of S3, whose address and credentials are those of the test that made them."""
    yield
    if module := sys.modules.get("xaiserve.storage.s3"):
        module.s3_client.cache_clear()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Start a Ray cluster for the tests of a module; others start and end their own."""
    import ray  # noqa: PLC0415 -- its environment is set above, and few tests need it
    from ray import serve  # noqa: PLC0415

    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=300 * 2**20,
    )
    serve.shutdown()  # forgets a controller of an earlier Ray, which Serve takes for this one's
    try:
        yield
    finally:
        ray.shutdown()


@pytest.fixture(autouse=True)
def _no_cluster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make starting Ray an error in tests that do not say that they need it."""
    if request.node.get_closest_marker("ray") or request.node.get_closest_marker("multinode"):
        return

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("this test starts Ray without the marker 'ray'")

    monkeypatch.setattr("ray.init", refuse)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in {"127.0.0.1", "::1", "localhost"}:
            pytest.fail(f"a test connects to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
