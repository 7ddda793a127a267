"""The house rules that no linter knows."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import xaiserve
from xaiserve.explainers.base import GradientExplainer, QueryExplainer
from xaiserve.explainers.registry import EXPLAINERS, explainer_class, make_explainer
from xaiserve.parameters import parameters_of

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMPORTED_AS = {
    "opentelemetry-sdk": "opentelemetry",
    "scikit-image": "skimage",
    "pillow": "PIL",
    "python-multipart": "multipart",
    "pyyaml": "yaml",
    "typing-extensions": "typing_extensions",
    "pytest-asyncio": "pytest_asyncio",
    "import-linter": "importlinter",
}


def declared(groups=("transformers", "gradients", "tracing")):
    """Names of the run-time dependencies, normalised, extras included."""
    extras = PROJECT["optional-dependencies"]
    specs = [*PROJECT["dependencies"], *(spec for group in groups for spec in extras[group])]
    return {re.match(r"[A-Za-z0-9-]+", spec)[0].lower() for spec in specs}


def imported():
    """Top-level third-party modules that the package imports anywhere."""
    names = set()
    for path in set((ROOT / "xaiserve").rglob("*.py")) - set((ROOT / "xaiserve/testing").glob("*")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"xaiserve"}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_method_resolves_is_frozen_and_has_a_test_file(name):
    owner = explainer_class(name)
    assert is_dataclass(owner)
    assert owner.__dataclass_params__.frozen
    assert owner.name == name
    assert isinstance(make_explainer(name), QueryExplainer | GradientExplainer)
    module = EXPLAINERS[name].partition(":")[0].rpartition(".")[2]
    assert (ROOT / "tests" / "explainers" / f"test_{module}.py").is_file()


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_field_of_a_method_says_what_it_means_and_where_it_comes_from(name):
    owner = explainer_class(name)
    described = parameters_of(owner)
    assert [each.name for each in described] == [field.name for field in fields(owner)]
    assert all(each.about and each.source for each in described)


def test_the_public_names_are_exactly_those_listed():
    assert sorted(xaiserve.__all__) == xaiserve.__all__
    assert all(getattr(xaiserve, name) is not None for name in xaiserve.__all__)


def test_importing_the_command_line_imports_neither_torch_nor_ray():
    code = "import sys, xaiserve.cli; print({'torch', 'ray', 'numpy'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "set()"


def test_whatever_is_imported_is_declared():
    modules = {IMPORTED_AS.get(name, name) for name in declared()}
    # Ray Serve brings starlette as its interface, boto3 brings botocore.
    assert imported() - modules <= {"starlette", "botocore"}


def test_the_lock_pins_every_dependency():
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    assert declared(("transformers", "gradients", "dev")) <= pinned


def test_the_readme_gives_a_reason_for_every_dependency():
    readme = (ROOT / "README.md").read_text().lower()
    rows = set(re.findall(r"^\| `([a-z0-9-]+)`", readme, flags=re.MULTILINE))
    assert declared() <= rows
