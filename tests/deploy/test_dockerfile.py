"""What of an image can be told without building it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import ray

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "deploy" / "Dockerfile"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==", re.MULTILINE)


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its argument, continued lines joined."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(name, argument.strip()) for name, _, argument in pairs]


def told(name: str) -> list[str]:
    return [argument for each, argument in instructions() if each == name]


def commands(program: str) -> list[list[str]]:
    """The words of every call of ``program`` in RUN instructions."""
    calls = [shlex.split(call) for run in told("RUN") for call in run.split("&&")]
    return [words for words in calls if words[0] == program]


def same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_instruction_is_one_of_docker():
    known = {"FROM", "ARG", "RUN", "WORKDIR", "ENV", "COPY", "USER", "EXPOSE", "CMD"}

    assert {name for name, _ in instructions()} == known


def test_what_is_copied_exists_and_is_not_ignored():
    copied = [word for argument in told("COPY") for word in argument.split()[:-1]]
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()

    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied)


def test_every_package_comes_at_the_version_of_the_lock():
    calls = commands("pip")

    assert len(calls) == 3
    for words in calls:
        assert "--no-deps" in words or "--constraint requirements.lock" in " ".join(words)


def test_what_is_installed_is_what_the_package_needs_and_is_pinned():
    (listing,) = commands("python")
    assert listing[-2:] == [">", "runtime.txt"]
    listed = subprocess.run(
        [sys.executable, *listing[1:-2]], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    names = {same(re.split(r"[\[>=<]", each)[0]) for each in listed}
    pinned = {same(name) for name in PINNED.findall((ROOT / "requirements.lock").read_text())}

    assert {"torch", "ray", "onnxruntime", "transformers", "captum"} <= names
    assert names <= pinned
    assert "pytest" not in names


@pytest.mark.parametrize("name", ["rayservice.yaml", "rayjob.yaml"])
def test_pods_run_as_the_user_of_the_image(name: str):
    (uid,) = re.findall(r"--uid (\d+)", FILE.read_text())

    assert f"runAsUser: {uid}" in (ROOT / "deploy" / name).read_text()
    assert told("USER") == [uid]


def test_files_are_mounted_where_the_user_of_the_image_looks():
    (home,) = re.findall(r"HOME=(\S+)", FILE.read_text())

    assert f"{home}/.ray/auth_token:" in (ROOT / "cluster.yaml").read_text()


def test_every_variable_of_ray_is_one_that_ray_reads():
    names = [word.partition("=")[0] for line in told("ENV") for word in line.split()]
    package = Path(ray.__file__).parent
    files = ["serve/_private/constants.py", "_common/usage/usage_constants.py"]
    files += ["_private/accelerators/accelerator.py"]
    known = "".join((package / name).read_text() for name in files)

    asked = [name for name in names if name.startswith("RAY_")]
    assert len(asked) == 6
    assert [name for name in asked if f'"{name}"' not in known] == []
