"""Manifests for KubeRay, by the schemas of its own resource definitions."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from xaiserve.cli.submit import command
from xaiserve.dispatch.submission import OUT_KEY
from xaiserve.testing.manifests import manifest_faults, misspellings

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT.parent / "shared" / "data" / "kuberay_crds"
KINDS = {"rayservice": "rayservices.yaml", "rayjob": "rayjobs.yaml"}

needs_crds = pytest.mark.skipif(
    not CRDS.is_dir(), reason=f"KubeRay's resource definitions are not in {CRDS}"
)


def read(kind: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / f"{kind}.yaml").read_text())


def cluster_of(kind: str) -> dict[str, Any]:
    spec = read(kind)["spec"]
    return spec.get("rayClusterConfig") or spec["rayClusterSpec"]


@needs_crds
@pytest.mark.parametrize("kind", KINDS)
def test_kuberay_finds_nothing_wrong(kind: str):
    assert manifest_faults(read(kind), CRDS / KINDS[kind]) == []


@needs_crds
@pytest.mark.parametrize("kind", KINDS)
def test_every_misspelt_key_is_found(kind: str):
    """A job's ``metadata`` may hold any key; the test of the job looks at ours."""
    crd = CRDS / KINDS[kind]
    checked = {place: manifest_faults(wrong, crd) for place, wrong in misspellings(read(kind))}
    passed = [place for place, faults in checked.items() if not faults]

    assert len(checked) > 100
    assert set(passed) <= {("spec", "metadata", OUT_KEY)}


@needs_crds
def test_values_of_a_wrong_kind_are_found():
    manifest = read("rayservice")
    manifest["spec"]["rayClusterConfig"]["autoscalerOptions"]["version"] = "v3"
    manifest["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["minReplicas"] = "none"

    assert len(manifest_faults(manifest, CRDS / KINDS["rayservice"])) == 2


def test_the_service_is_the_one_of_service_yaml():
    inside = yaml.safe_load(read("rayservice")["spec"]["serveConfigV2"])

    assert inside == yaml.safe_load((ROOT / "deploy" / "service.yaml").read_text())


def test_the_cluster_before_a_roll_out_stays_for_the_longest_request():
    spec = read("rayservice")["spec"]
    (application,) = yaml.safe_load(spec["serveConfigV2"])["applications"]

    assert spec["rayClusterDeletionDelaySeconds"] > application["args"]["budget"]["max_seconds"]


def test_the_entrypoint_is_a_command_line_that_submit_takes():
    spec = read("rayjob")["spec"]
    program, name, *words = shlex.split(spec["entrypoint"])

    given = command.make_context("submit", words).params
    assert (program, name) == ("xaiserve", "submit")
    assert given["local"]
    assert spec["metadata"] == {OUT_KEY: given["out"]}


@pytest.mark.parametrize("kind", KINDS)
def test_workers_come_when_there_is_work_and_the_head_has_none(kind: str):
    cluster = cluster_of(kind)

    assert cluster["rayVersion"] == ray.__version__
    assert cluster["authOptions"]["mode"] == "token"
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert {group["minReplicas"] for group in cluster["workerGroupSpecs"]} == {0}


@pytest.mark.parametrize("kind", KINDS)
def test_every_container_asks_for_what_it_may_use_and_is_no_root(kind: str):
    cluster = cluster_of(kind)
    pods = [each["template"]["spec"] for each in cluster["workerGroupSpecs"]]
    for pod in [cluster["headGroupSpec"]["template"]["spec"], *pods]:
        (container,) = pod["containers"]
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["securityContext"]["runAsNonRoot"]
