import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from xaiserve.cli import main
from xaiserve.cli.addressing import ADDRESS, named_address
from xaiserve.cli.configuring import make_config
from xaiserve.cli.handing_over import arguments, reachable_images
from xaiserve.cli.options import filled_settings
from xaiserve.dispatch.owning import owned
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.dispatch.submission import JobServer, SubmittedJob
from xaiserve.errors import InvalidInputError
from xaiserve.pipelines.progress import Progress
from xaiserve.storage.local import LocalStore
from xaiserve.testing.jobs import write_images, write_model

NOBODY = "http://127.0.0.1:9"
CREW = {"workers": 2, "threads": None, "gpus": 0.0}


def given(**changes):
    options = {
        "kind": "pointing-game",
        "named_model": "toy=somewhere",
        "methods": "rise, lime",
        "settings": ("rise.samples=100", "lime.fill=blur=3"),
        "images": "s3://bucket/images",
        "out": "s3://bucket/out",
        "seed": 3,
        "limit": None,
        "max_inputs": None,
        "model_format": None,
        "trust_code": False,
        "device": "cpu",
        "tolerance_px": None,
        "tasks_per_part": None,
    }
    return options | changes


def ended(*words):
    result = CliRunner().invoke(main, list(words))
    return result.exit_code, result.output


@pytest.fixture
def job(tmp_path):
    model = write_model(tmp_path / "model")
    images = write_images(tmp_path / "images", 2)
    return ["--images", str(images), "--model", f"toy={model}", "--out", str(tmp_path / "out")]


def test_settings_go_to_the_method_that_they_name():
    assert filled_settings(["a.x=1", "b.x=2=3", "a.y="], ["a", "b"]) == {
        "a": {"x": "1", "y": ""},
        "b": {"x": "2=3"},
    }
    assert filled_settings(["x=1.5"], ["a"]) == {"a": {"x": "1.5"}}


@pytest.mark.parametrize("wrong", ["x=1", "a.x", ".x=1", "a.=1"])
def test_a_setting_without_method_key_or_value_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=r"--set must be METHOD\.KEY=VALUE"):
        filled_settings([wrong], ["a", "b"])


def test_the_command_line_of_a_job_means_the_same_configuration():
    config = make_config(
        **given(tolerance_px=4.0, limit=5, trust_code=True, scores="deletion, insertion")
    )
    words = arguments(config, CREW, config.images)
    assert words[:3] == ["submit", "pointing-game", "--local"]
    options = dict(zip(words[3:-1:2], words[4::2], strict=False))
    again = make_config(
        **given(
            named_model=options["--model"],
            methods=options["--methods"],
            settings=tuple(words[i + 1] for i, word in enumerate(words) if word == "--set"),
            tolerance_px=float(options["--tolerance-px"]),
            limit=int(options["--limit"]),
            scores=options["--scores"],
            trust_code="--trust-code" in words,
        )
    )
    assert again == config
    assert options["--workers"] == "2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "magic"], "method 'magic' does not exist; known are"),
        (["--methods", "occlusion", "--set", "cells=0"], "cells must be"),
        (["--methods", "occlusion", "--limit", "0"], "limit must be at least 1, got 0"),
        (["--methods", "occlusion", "--workers", "0"], "workers must be at least 1, got 0"),
        (["--methods", "occlusion", "--tolerance-px", "3"], "is for pointing-game"),
        (["--methods", "occlusion", "--model", "toy"], "--model must be NAME=DIR, got 'toy'"),
        (["--methods", "occlusion", "--images", "/nothing"], "/nothing does not exist"),
        (["--methods", "grad-cam"], "gradients"),
        (["--methods", "occlusion", "--scores", "magic"], "scores must be among insertion, del"),
        (["--methods", ","], "at least one method"),
    ],
)
def test_misuse_ends_with_a_sentence_and_2(job, words, said):
    code, output = ended("submit", "explain", "--local", *job, *words)
    assert code == 2
    assert said in output
    assert len(output.strip().splitlines()) == 1


def test_a_setting_given_twice_is_refused():
    with pytest.raises(InvalidInputError, match=r"--set a\.x must be given once, got 1 and 2"):
        filled_settings(["a.x=1", "x=2"], ["a"])


def test_an_output_of_another_configuration_is_refused(job, tmp_path):
    LocalStore(tmp_path / "out").write(
        "_job.json",
        json.dumps({"schema_version": 3, "digest": "x", "configuration": {"seed": 1}}).encode(),
    )
    code, output = ended("submit", "explain", "--local", *job, "--methods", "occlusion")
    assert code == 2
    assert "already holds another configuration" in output


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "some-job"],
        ["logs", "some-job"],
        ["submit", "explain", "--images", "x", "--model", "a=b", "--methods", "rise", "--out", "y"],
    ],
)
@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_a_cluster_out_of_reach_is_told_in_a_sentence(words, variable, monkeypatch):
    monkeypatch.setenv(variable, "http://127.0.0.1:10")
    code, output = ended(*words, "--address", NOBODY)
    assert code == 2
    assert f"address {NOBODY} answers no Ray job server" in output


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ADDRESS),
        ({"RAY_ADDRESS": "http://ray.example:8265"}, "http://ray.example:8265"),
        ({"RAY_ADDRESS": "ray.example:6379"}, ADDRESS),
        (
            {"RAY_ADDRESS": "auto", "RAY_API_SERVER_ADDRESS": "http://ray.example"},
            "http://ray.example",
        ),
    ],
)
def test_without_an_address_rays_variables_name_the_cluster(variables, address):
    assert named_address(variables) == address


def test_a_failed_job_is_told_with_the_sentence_that_ended_it(tmp_path, monkeypatch):
    log = "Command failed with exit code 2, last logs:\nRunning\nxaiserve: x.csv does not exist\n"
    job = SubmittedJob(job_id="job-1", state="FAILED", message=log, out=str(tmp_path))
    monkeypatch.setattr(JobServer, "__init__", lambda *_: None)
    monkeypatch.setattr(JobServer, "jobs", lambda _: [job])

    assert ended("status") == (0, f"job-1  FAILED  not begun  {tmp_path}  x.csv does not exist\n")


def test_a_job_that_has_not_begun_is_cancelled_and_waited_for(tmp_path, monkeypatch):
    states = iter(["RUNNING", "RUNNING", "STOPPED"])
    stopped = []

    def found(_, job_id):
        return SubmittedJob(job_id=job_id, state=next(states), message="", out=str(tmp_path))

    monkeypatch.setattr(JobServer, "__init__", lambda *_: None)
    monkeypatch.setattr(JobServer, "find", found)
    monkeypatch.setattr(JobServer, "stop", lambda _, job_id: stopped.append(job_id))

    assert ended("cancel", "job-1") == (0, "job-1  STOPPED\n")
    assert stopped == ["job-1"]


def test_status_of_an_output_needs_no_cluster(tmp_path):
    progress = Progress(state="running", total=4, done=2)
    LocalStore(tmp_path).write(PROGRESS, progress.to_json())
    with owned(LocalStore(tmp_path)):
        assert ended("status", "--out", str(tmp_path)) == (
            0,
            f"{tmp_path}  running: 2/4 explanations\n",
        )
    code, output = ended("status", "--out", str(tmp_path), "--json")
    assert (code, json.loads(output)["done"], json.loads(output)["state"]) == (0, 2, "dead")


def test_status_of_an_output_without_a_job_is_told_in_a_sentence(tmp_path):
    code, output = ended("status", "--out", str(tmp_path / "nothing"))
    assert code == 2
    assert "holds no job; one that was submitted and has not begun" in output


def test_paths_of_this_machine_are_refused_for_a_cluster_elsewhere():
    local_out = make_config(**given(out="out"))
    with pytest.raises(InvalidInputError, match="--out must be s3://bucket/prefix"):
        reachable_images(local_out, here=False, upload=False)
    local_images = make_config(**given(images=str(Path("images").absolute())))
    with pytest.raises(InvalidInputError, match="a path of this machine, which the cluster cannot"):
        reachable_images(local_images, here=False, upload=False)
    assert reachable_images(local_images, here=True, upload=False) == local_images.images


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": "rise,rise"}, "each once, got rise, rise"),
        ({"methods": "", "settings": ()}, "each once, got none"),
        ({"seed": -1}, "seed must be from 0 to 9223372036854775807, got -1"),
    ],
)
def test_a_configuration_is_refused_by_field_and_value(changes, said):
    with pytest.raises(InvalidInputError, match=said):
        make_config(**given(**changes))


def test_the_embedded_model_brings_its_translator_where_a_method_needs_one():
    clear = given(named_model="small=embedded", methods="clear-image", settings=())
    assert make_config(**clear).translator == "embedded"
    assert make_config(**clear, contrast="blur").contrast == "blur"
    assert make_config(**clear, contrast="blur").translator is None
    assert make_config(**given(named_model="small=embedded")).translator is None
    assert make_config(**clear | {"named_model": "mine=somewhere"}).translator is None


def test_an_address_that_is_none_is_misuse():
    assert ended("status", "some-job", "--address", "nonsense") == (
        2,
        "xaiserve: address must be http://HOST:PORT of a cluster's dashboard, got 'nonsense'\n",
    )
