"""Each check on something that is known to be right, and on something broken on purpose."""

import http.server
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from xaiserve.cli import main
from xaiserve.cli.checks import machine, parts, places, software
from xaiserve.cli.checks.finding import Finding, look, size
from xaiserve.errors import InvalidInputError
from xaiserve.storage.local import LocalStore

NOBODY = "http://127.0.0.1:9"


def ended(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["doctor", *words])
    return result.exit_code, result.output


def test_a_machine_without_faults_passes():
    code, output = ended()

    assert code == 0, output
    assert "0 failed" not in output
    assert [line.split()[0] for line in output.splitlines()[:2]] == ["ok", "ok"]


def test_json_has_every_check_and_the_exit_code_says_whether_one_failed(tmp_path: Path):
    file = tmp_path / "service.yaml"
    file.write_text("models: {a: {source: embedded, repicas: 2}}")

    code, output = ended("--json", "--config", str(file), "--url", NOBODY)
    document = json.loads(output)
    failed = {each["name"]: each for each in document["checks"] if each["state"] == "failed"}

    assert (code, document["ok"]) == (1, False)
    assert failed["config"]["told"] == (
        "service configuration: models.a.repicas is not a known setting"
    )
    assert failed["service"]["told"].startswith(f"nothing answers at {NOBODY}/readyz")
    assert set(failed) == {"config", "service"}


def test_what_to_do_stands_below_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(_long(tmp_path)))

    code, output = ended()

    assert code == 1
    lines = output.splitlines()
    (index,) = [i for i, line in enumerate(lines) if line.startswith("failed")]
    assert "too long a path for Ray's sockets" in lines[index]
    assert lines[index + 1].strip() == "set TMPDIR to a shorter one, such as /tmp"
    assert lines[-1].endswith("1 failed")


def _long(folder: Path) -> Path:
    made = folder / ("long-" * 12)
    made.mkdir()
    return made


def test_an_error_of_a_check_is_what_it_found():
    def refuse() -> Finding:
        raise InvalidInputError("it is so; do that")

    def break_down() -> Finding:
        raise ZeroDivisionError("division by zero")

    assert look("a", refuse).told == "it is so; do that"
    assert look("b", break_down).told == "unexpected ZeroDivisionError: division by zero"
    assert {look("a", refuse).state, look("b", break_down).state} == {"failed"}


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12 bytes"), (64 << 20, "64 MiB"), (3 << 29, "1.5 GiB"), (5 << 40, "5120.0 GiB")],
)
def test_sizes_are_for_people(number: int, text: str):
    assert size(number) == text


@pytest.mark.parametrize(
    ("built", "driver", "state", "todo"),
    [
        (None, None, "ok", ""),
        (None, (13, 0), "warning", "install torch without --index-url"),
        ((13, 0), None, "warning", "install NVIDIA's driver"),
        ((13, 0), (12, 4), "failed", "https://download.pytorch.org/whl/cu124"),
        ((13, 2), (13, 0), "ok", ""),  # minor versions are compatible
        ((12, 8), (13, 0), "ok", ""),
    ],
)
def test_builds_of_torch_are_compared_with_the_driver(
    built: tuple[int, int] | None, driver: tuple[int, int] | None, state: str, todo: str
):
    found = software.fit("2.13.0", built, driver)

    assert found.state == state
    assert todo in found.todo
    assert bool(found.todo) == (state != "ok")


def test_a_missing_and_an_old_package_are_both_told():
    found = software.packages(["no-such-package>=1", "click>=999", "numpy>=1"])

    assert found.state == "failed"
    assert found.told.startswith("no-such-package is missing; click must be >=999, got ")


def test_another_python_is_refused():
    assert software.python((3, 12)).state == "failed"
    assert software.python((3, 11)).state == "ok"


def test_a_container_with_fewer_cpus_than_it_sees_is_told(tmp_path: Path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert "may use 0.5 of them" in machine.cpus(tmp_path).told
    assert machine.cpus(tmp_path).todo.startswith("give jobs --workers 1")

    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cpus(tmp_path).told == f"{len(os.sched_getaffinity(0))} CPUs"


def test_the_memory_is_what_the_machine_and_the_container_both_have(tmp_path: Path):
    about = tmp_path / "meminfo"
    about.write_text("MemTotal: 9000000 kB\nMemAvailable: 4194304 kB\n")
    assert machine.memory(about, tmp_path).told == "4.0 GiB are free"

    (tmp_path / "memory.max").write_text(f"{2 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{3 << 29}\n")
    assert machine.memory(about, tmp_path).told.startswith("512 MiB are free; Ray needs 1.0 GiB")
    assert machine.memory(about, tmp_path).state == "failed"


def test_a_port_in_use_is_told(unready: str):
    number = int(unready.rpartition(":")[2])

    found = machine.port("127.0.0.1", number)
    assert found.state == "failed"
    assert "in use" in found.told


def test_the_probe_of_a_folder_leaves_nothing(tmp_path: Path):
    found = places.store(str(tmp_path / "new" / "out"))

    assert found.state == "ok"
    assert list(tmp_path.iterdir()) == []


class Forgetful(LocalStore):
    """Overwrites whatever it is told, and lists nothing, as some S3 servers do."""

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:  # noqa: ARG002
        super().write(key, data)

    def list(self, prefix: str = "") -> Sequence[str]:  # noqa: ARG002
        return ()


def test_a_store_that_breaks_its_promises_is_told(tmp_path: Path):
    found = places.probe(Forgetful(tmp_path), "probe")

    assert found.state == "failed"
    assert found.told == (
        f"{tmp_path} does not list what was just written and writes over an object that should "
        "only be created"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bucket_without_credentials_is_told(monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    code, output = ended("--out", "s3://bucket/out")
    assert code == 1
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in output


def test_models_are_loaded_and_asked(model_folder: Path):
    assert parts.model(str(model_folder)).state == "ok"
    assert look("model", lambda: parts.model("/nowhere")).state == "failed"


def test_a_file_for_serve_deploy_is_a_configuration_too():
    file = Path(__file__).resolve().parents[2] / "deploy" / "service.yaml"

    assert parts.configuration(file).told == f"{file} is valid: models small"


@pytest.mark.parametrize("address", ["127.0.0.1:9", NOBODY])
def test_a_cluster_that_is_none_is_told(address: str):
    found = look("cluster", lambda: places.cluster(address))

    assert found.state == "failed"
    assert address in found.told


class _Answers(http.server.BaseHTTPRequestHandler):
    """``/readyz`` is that of a service without its models; the rest is another server's."""

    def do_GET(self) -> None:
        ours = self.path == "/readyz"
        self.send_response(503 if ours else 200)
        self.end_headers()
        self.wfile.write(b'{"detail": "not ready: small"}' if ours else b"<html>")

    def log_message(self, *_: object) -> None:
        """Tell nobody."""


@pytest.fixture
def unready() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_service_that_is_not_ready_or_not_ours_is_told(unready: str):
    assert places.service(unready).told == f"{unready} is not ready: not ready: small"
    assert (
        places.service(f"{unready}/else").told == f"{unready}/else answers 200, and is no xaiserve"
    )
    with pytest.raises(InvalidInputError, match="--url must be http://HOST:PORT"):
        places.service("ftp://host")


@pytest.mark.ray
def test_a_ray_is_started_here_and_ended():
    assert parts.local_ray().state == "ok"
