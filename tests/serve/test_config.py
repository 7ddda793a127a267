import os
from pathlib import Path

import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.serve.config import make_config, prepare_logs, read_config
from xaiserve.serve.kept.keeping import open_answers
from xaiserve.serve.settings import Answers, Logs

ONE = {"models": {"a": "some/folder"}}


def test_a_name_and_a_folder_are_enough():
    config = make_config(ONE)

    assert config.models["a"].source == "some/folder"
    assert (config.port, config.budget.seconds, config.cpus) == (8000, 30, 1)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"models": {}}, ("models", "1")),
        ({}, ("models must name at least 1 model",)),
        ({**ONE, "prot": 1}, ("prot is not a known setting",)),
        ({**ONE, "port": 70000}, ("port", "65535", "70000")),
        ({**ONE, "budget": {"seconds": 0}}, ("budget.seconds", "0")),
        ({**ONE, "budget": {"seconds": 500}}, ("seconds must be at most", "300")),
        ({**ONE, "queue": {"running": 0}}, ("queue.running", "1", "0")),
        ({"models": {"a/b": "x"}}, ("models.a/b",)),
        ({**ONE, "on_demand": {"models": {"b": "x"}}}, ("on_demand.memory_bytes is missing",)),
        (
            {**ONE, "on_demand": {"memory_bytes": 1, "models": {"a": "x"}}},
            ("model a is in models and in on_demand.models",),
        ),
        (
            {"on_demand": {"memory_bytes": 1, "models": {"b": {"source": "x", "replicas": 2}}}},
            ("model b is loaded on demand and cannot have replicas",),
        ),
        ({"models": {"a": {"source": "x", "devise": "cpu"}}}, ("models.a.devise",)),
    ],
)
def test_a_wrong_setting_is_named(given: dict, words: tuple[str]):
    with pytest.raises(InvalidInputError) as refusal:
        make_config(given)

    for word in words:
        assert word in str(refusal.value)


def test_a_job_may_name_models_on_demand_and_gets_the_gpus_that_they_share():
    held = {"memory_bytes": 1, "gpus": 1, "models": {"b": {"source": "x", "device": "cuda"}}}
    models = make_config({**ONE, "on_demand": held}).all_models

    assert {name: (model.source, model.gpus) for name, model in models.items()} == {
        "a": ("some/folder", 0),
        "b": ("x", 1),
    }


def test_a_file_is_read(tmp_path: Path):
    file = tmp_path / "service.yaml"
    file.write_text("models:\n  a: folder\nport: 9000\n")

    assert make_config(read_config(file)).port == 9000


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    file = tmp_path / "service.yaml"
    file.write_text(text)

    with pytest.raises(InvalidInputError, match=r"service\.yaml"):
        read_config(file)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InvalidInputError, match=r"absent\.yaml cannot be read"):
        read_config(tmp_path / "absent.yaml")


def test_what_is_no_yaml_is_told_on_one_line(tmp_path: Path):
    (tmp_path / "open.yaml").write_text("models: {a: [\n")
    with pytest.raises(InvalidInputError, match=r"^config .*open\.yaml is not YAML: .+\Z"):
        read_config(tmp_path / "open.yaml")


@pytest.mark.parametrize(
    ("named", "below"),
    [("{home}/states", "states"), ("", ".local/state"), ("here", ".local/state")],
)
def test_answers_are_kept_where_the_user_keeps_state(
    named: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", named.format(home=tmp_path))
    open_answers(Answers())

    folder = tmp_path / below / "xaiserve" / "answers"
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("format", "bare"), [("json", "1"), ("text", None)])
def test_lines_of_the_log_stay_whole(
    format: str,  # noqa: A002 -- the setting's name
    bare: str | None,
    monkeypatch: pytest.MonkeyPatch,
):
    names = ("RAY_DEDUP_LOGS", "RAY_DISABLE_WORKER_LOG_PREFIX")
    for name in names:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)

    prepare_logs(Logs.model_validate({"format": format}))

    assert [os.environ.get(name) for name in names] == ["0", bare]  # noqa: TID251 -- what is tested
