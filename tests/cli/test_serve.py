"""``xaiserve serve``: misuse in one sentence, and one service from start to stop."""

import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from xaiserve.cli.main import main
from xaiserve.cli.serve import _config, _tell
from xaiserve.contrasts.opening import ContrastSettings
from xaiserve.serve.config import make_config

pytestmark = pytest.mark.filterwarnings(
    # The settings of Ray Serve use what pydantic has deprecated, which shows on import.
    "ignore:Using extra keyword arguments on `Field`"
)


ANY_HOST = "0.0.0.0"  # noqa: S104 -- nothing is bound


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["serve", *words])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "at least one --model"),
        (("--model", "folder"), "--model must be NAME=SOURCE, got 'folder'"),
        (("--model", "a=./absent/folder"), "absent/folder"),
        (("--model", "a=./absent"), "model './absent' does not exist"),
        (("--model", "a=x", "--port", "99999"), "port"),
        (("--model", "a/b=x"), "models.a/b"),
        (("--model", "a=x", "--replicas", "0"), "replicas"),
        (("--model", "a=x", "--format", "pickle"), "file_format"),
        (("--config", "absent.yaml"), "absent.yaml cannot be read"),
        (("--model", "a=package.module:factory"), "--trust-code"),
    ],
)
def test_misuse_is_one_sentence_and_exit_code_2(words: tuple[str, ...], told: str):
    result = run(*words)

    assert result.exit_code == 2, result.output
    assert told in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modles: {a: embedded}", "modles is not a known setting"),
        ("models: [embedded]", "models must be a mapping, got ['embedded']"),
        ("models: embedded", "models must be a mapping, got 'embedded'"),
        ("models: {a: }", "models.a"),
        ("models:", "models must name at least 1 model"),
    ],
)
def test_a_mistake_in_the_file_is_named_and_exit_code_2(tmp_path: Path, text: str, told: str):
    file = tmp_path / "service.yaml"
    file.write_text(text)
    result = run("--config", str(file))

    assert result.exit_code == 2, result.output
    assert told in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_the_embedded_model_is_served_with_its_translator_unless_told_otherwise():
    plain = {"device": None, "file_format": None, "trust_code": False, "replicas": 1}
    plain |= {"port": None, "host": None, "keys": None, "file": None}
    models = _config(("small=embedded", "mine=folder"), **plain).models
    assert models["small"].contrasts == ContrastSettings(translator="embedded")
    assert models["mine"].contrasts is None
    told = _config(("small=embedded",), **plain, contrasts=("small=blur",)).models["small"]
    assert told.contrasts == ContrastSettings(contrast="blur")


def test_a_taken_port_is_exit_code_2():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("--model", "a=embedded", "--port", port)

    assert result.exit_code == 2
    assert f"got {port}" in result.output


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({"host": ANY_HOST}, True),
        ({"host": ANY_HOST, "access": {"keys": "keys.json"}}, False),
        ({"host": "127.0.0.1"}, False),
        ({}, False),
    ],
)
def test_a_service_open_to_the_network_without_keys_says_so_once(
    more: dict[str, Any], warned: bool, capsys: pytest.CaptureFixture[str]
):
    _tell("http://127.0.0.1:8000", make_config({"models": {"small": "embedded"}, **more}))

    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(warnings) == int(warned)
    assert all("port 8000" in line and "--keys FILE" in line for line in warnings)


def descendants(pid: int) -> set[int]:
    """List the processes that ``pid`` started, directly or not."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.parent.name)] = int(fields[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def ended(pid: int) -> bool:
    """Say whether a process has ended, or does in the moment that the last one needs to go."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 5)[0])
    finally:
        os.close(handle)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    ("send", "number"),
    # Ctrl-C reaches the whole group, a service manager's signal the one process.
    [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)],
)
def test_it_serves_until_a_signal_and_leaves_no_process(
    send: Callable[[int, int], None], number: signal.Signals
):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "xaiserve", "serve", "--model", "small=embedded"]
    with subprocess.Popen(
        [*command, "--port", str(port)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        curl = next(line for line in process.stderr if line.startswith("curl"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
            ready = answer.status
        started = descendants(process.pid)
        send(process.pid, number)
        process.stderr.read()

    assert f":{port}/v1/explain?model=small&method=multirex" in curl
    assert ready == 200
    assert process.returncode == 0
    assert started
    assert [pid for pid in started if not ended(pid)] == []
