"""What a training of a contrast GAN claims, and what it refuses; without a cluster."""

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from xaiserve.dispatch.progress import PROGRESS
from xaiserve.errors import ConflictError, InvalidInputError, NotFoundError
from xaiserve.gan.options import PRESETS
from xaiserve.gan.session import Habits
from xaiserve.gan.team import Alone
from xaiserve.gan.translator import load_translator
from xaiserve.pipelines import train_gan
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.gan_training import Config
from xaiserve.pipelines.train_gan import FINGERPRINT, _finished, run
from xaiserve.pipelines.train_gan_worker import Task, train_task
from xaiserve.storage.local import LocalStore
from xaiserve.testing.gans import LABELS, TINY, write_squares

CPU = torch.device("cpu")


@pytest.fixture
def task(tmp_path):
    return Task(
        images=write_squares(tmp_path),
        out=str(tmp_path / "out"),
        preset=TINY,
        seed=0,
        held_out=0.2,
        habits=Habits(checkpoint_s=1e-9),
        classifier=None,
        trust_code=False,
        threads=1,
    )


def test_a_worker_reads_trains_and_writes_the_translator(task, tmp_path):
    (tmp_path / "lit" / "bad.png").write_bytes(b"x")
    train_task(task, Alone(), CPU)
    translator = load_translator(task.out)
    assert translator.labels == LABELS
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["training"]["steps"] == 6
    assert config["training"]["pictures"] == 12
    assert "bad.png" in config["training"]["skipped"][0]
    progress = json.loads((tmp_path / "out" / PROGRESS).read_text())
    assert (progress["state"], progress["done"], progress["unit"]) == ("done", 6, "steps")
    assert "skipped | 1 |" in (tmp_path / "out" / "README.md").read_text()


def test_a_finished_training_is_not_repeated_and_needs_no_cluster(task):
    train_task(task, Alone(), CPU)
    settings = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for part in (TINY.architecture, TINY.options)
        for key, value in dataclasses.asdict(part).items()
    }
    config = Config(images=task.images, out=task.out, settings=settings, held_out=0.2)
    claim = json.dumps(config.deciding(), sort_keys=True, indent=1)
    with pytest.raises(ConflictError, match="already holds a translator"):
        run(config, Placement())
    (Path(task.out) / FINGERPRINT).write_text(claim)
    summary = run(config, Placement())
    assert (summary.steps, summary.ended, summary.labels) == (6, "epochs", LABELS)


@pytest.mark.parametrize(
    ("ended", "max_seconds", "finished"),
    [
        ("epochs", None, True),
        ("seconds", 10.0, True),
        ("seconds", 20.0, False),
        ("seconds", None, False),
    ],
)
def test_a_training_stopped_by_time_goes_on_when_given_more(tmp_path, ended, max_seconds, finished):
    store = LocalStore(tmp_path)
    assert not _finished(store, max_seconds)
    store.write("config.json", json.dumps({"training": {"ended": ended, "seconds": 12}}).encode())
    assert _finished(store, max_seconds) is finished


def test_another_configuration_is_refused_by_what_differs(tmp_path):
    folders = write_squares(tmp_path)
    config = Config(images=folders, out=str(tmp_path / "out"))
    claim = json.dumps(config.deciding(), sort_keys=True, indent=1)
    (tmp_path / "out" / "training").mkdir(parents=True)
    (tmp_path / "out" / FINGERPRINT).write_text(claim)
    with pytest.raises(ConflictError, match="training with other seed;"):
        run(dataclasses.replace(config, seed=1), Placement())


def test_a_training_that_could_not_begin_leaves_the_place_to_the_mended_command(
    tmp_path, monkeypatch
):
    def refuse(_config, _placement):
        raise InvalidInputError("images of class 'ill' must be at least 2 readable pictures")

    monkeypatch.setattr(train_gan, "_fit", refuse)
    monkeypatch.setattr(train_gan, "ray_for", lambda _placement: nullcontext())
    for place in ("wrong", "mended"):
        folders = write_squares(tmp_path / place)
        with pytest.raises(InvalidInputError, match="at least 2 readable"):
            run(Config(images=folders, out=str(tmp_path)), Placement())
    assert not (tmp_path / FINGERPRINT).exists()


def test_ctrl_c_which_ray_train_turns_into_a_silent_end_is_told_as_such(tmp_path, monkeypatch):
    class Trainer:
        def __init__(self, *_, **__):
            pass

        def fit(self):
            raise SystemExit(1)

    monkeypatch.setattr(train_gan, "TorchTrainer", Trainer)
    monkeypatch.setattr(train_gan, "ray_for", lambda _placement: nullcontext())
    images = write_squares(tmp_path / "data", 4)
    with pytest.raises(KeyboardInterrupt):
        run(Config(images=images, out=str(tmp_path / "gan")), Placement())


def test_folders_are_looked_at_before_a_cluster_is_started(tmp_path):
    dark, lit = write_squares(tmp_path)
    config = Config(images=(dark, str(tmp_path / "absent")), out=str(tmp_path / "out"))
    with pytest.raises(NotFoundError, match="absent"):
        run(config, Placement())
    for path in sorted(Path(lit).iterdir())[1:]:
        path.unlink()
    with pytest.raises(InvalidInputError, match="at least 2 pictures, got 1 in"):
        run(dataclasses.replace(config, images=(dark, lit)), Placement())
    assert not (tmp_path / "out" / FINGERPRINT).exists()


def test_limits_of_time_do_not_decide_the_weights():
    config = Config(images=("a", "b"), out="o")
    longer = dataclasses.replace(config, max_seconds=5.0, checkpoint_s=1.0)
    assert longer.deciding() == config.deciding()
    assert config.wanted() == PRESETS["cpu"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"held_out": 1.0}, "held_out"),
        ({"max_seconds": 0.0}, "max_seconds"),
    ],
)
def test_wrong_fields_are_named(wrong, message):
    with pytest.raises(InvalidInputError, match=message):
        Config(**{"images": ("a", "b"), "out": "o"} | wrong)
