"""`ray up cluster.yaml` without a cloud: Ray's rules, EC2's, and EC2 itself as moto plays it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

from xaiserve.testing.manifests import cluster_faults, misspellings

FILE = Path(__file__).resolve().parents[2] / "cluster.yaml"
REGION = "us-west-2"


@pytest.fixture
def written() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_ray_and_ec2_find_nothing_wrong(written: dict[str, Any]):
    assert cluster_faults(written) == []


def test_every_misspelt_key_is_found(written: dict[str, Any]):
    checked = {place: cluster_faults(wrong) for place, wrong in misspellings(written)}

    assert len(checked) > 70
    assert [place for place, faults in checked.items() if not faults] == []


def test_a_misspelt_head_type_is_found(written: dict[str, Any]):
    assert cluster_faults(written | {"head_node_type": "haed"}) == [
        "`head_node_type` must be one of `available_node_types`."
    ]


def test_every_node_shows_the_token_and_none_has_a_public_address(written: dict[str, Any]):
    assert "--env RAY_AUTH_MODE=token" in written["docker"]["run_options"]
    assert written["provider"]["use_internal_ips"]
    assert "--dashboard-host=127.0.0.1" in " ".join(written["head_start_ray_commands"])


def test_ray_installs_nothing_of_its_own(written: dict[str, Any]):
    """Its defaults for AWS install a nightly build of another Ray."""
    prepared = prepare_config(written)

    assert prepared["setup_commands"] == []
    assert prepared["head_setup_commands"] == []
    assert prepared["worker_setup_commands"] == []


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """EC2 and IAM of a fresh account; Ray writes an SSH key to the home folder."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield boto3.client("ec2", region_name=REGION)
    server.stop()


def filled_in(text: str, ec2: Any) -> dict[str, Any]:
    """Replace what is marked EDIT, as an administrator would."""
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="ray", Description="ray", VpcId=vpc)["GroupId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    iam = boto3.client("iam", region_name=REGION)
    for profile in ("xaiserve-head", "xaiserve-worker"):
        iam.create_instance_profile(InstanceProfileName=profile)
    for kind, made in (("subnet", subnet), ("sg", group), ("ami", image)):
        assert f"{kind}-0123456789abcdef0" in text
        text = text.replace(f"{kind}-0123456789abcdef0", made)
    return yaml.safe_load(text)


@pytest.mark.slow
def test_ray_prepares_the_cloud_and_starts_and_ends_a_node_of_each_type(cloud: Any):
    config = prepare_config(filled_in(FILE.read_text(), cloud))
    config = AWSNodeProvider.fillout_available_node_types_resources(config)
    config = bootstrap_aws(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    started = {}
    for name, kind in config["available_node_types"].items():
        tags = {TAG_RAY_NODE_KIND: "worker", TAG_RAY_USER_NODE_TYPE: name}
        (node,) = provider.create_node(kind["node_config"], tags, 1)
        told = cloud.describe_instances(InstanceIds=[node])
        started[name] = told["Reservations"][0]["Instances"][0]
        provider.terminate_node(node)

    assert {name: each.get("InstanceLifecycle") for name, each in started.items()} == {
        "head": None,
        "gpu-on-demand": None,
        "gpu-spot": "spot",
    }
    assert not any(each.get("PublicIpAddress") for each in started.values())
    assert {
        name: kind["resources"].get("GPU", 0)
        for name, kind in config["available_node_types"].items()
    } == {"head": 0, "gpu-on-demand": 1, "gpu-spot": 1}
    left = cloud.describe_instances()["Reservations"]
    assert {each["Instances"][0]["State"]["Name"] for each in left} == {"terminated"}
