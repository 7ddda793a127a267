"""Classifiers trained on pictures whose class is their brightness, or where two dots are."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaiserve.errors import InvalidInputError, TrainingFailedError
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.rng import Keys
from xaiserve.training import densenet
from xaiserve.training.classifier import ClassifierTraining, Quality, measure
from xaiserve.training.pictures import Labelled, Pictures, balanced_batch, read_pictures
from xaiserve.training.running import train_classifier

OPTIONS = ClassifierTraining(side=32, steps=30, batch=16, test_share=0.3)
LABELS = ("dark", "light")


def write_pictures(folder: Path, count: int = 20) -> list[Labelled]:
    draws = np.random.default_rng(0)
    found = []
    for label, level in zip(LABELS, (60, 180), strict=True):
        (folder / label).mkdir(parents=True)
        for index in range(count):
            path = folder / label / f"{label}-{index}.png"
            noise = draws.integers(-30, 30, size=(32, 32))
            Image.fromarray((level + noise).astype(np.uint8)).save(path)
            found.append(Labelled(str(path), label))
    return found


@pytest.fixture
def listed(tmp_path):
    return write_pictures(tmp_path / "images")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_trained_folder_scores_and_has_gradients_without_trust(listed, tmp_path):
    trained = train_classifier(listed, OPTIONS, tmp_path / "model", seed=1)
    assert trained.test.accuracy == 1.0
    model = load_classifier(tmp_path / "model", threads=1, batch_rows=4)
    assert model.spec.labels == LABELS
    picture = torch.full((1, 1, 32, 32), 0.7)
    assert model.scores(picture)[0, 1] > 0.9
    logits = model.gradients().logits(picture.requires_grad_())
    (gradient,) = torch.autograd.grad(logits[0, 1], picture)
    assert gradient.abs().sum() > 0
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["test"]["accuracy"] == 1.0
    assert sum(record["training"].values()) + sum(trained.test.pictures) == len(listed)
    assert "told right" not in (tmp_path / "model" / "README.md").read_text()


def weights(listed, seed, options=OPTIONS):
    pictures, _ = read_pictures(listed, options.spec(LABELS))
    network = options.run(pictures, Keys.root(seed, "test"), lambda _number, _loss: None)
    return network.state_dict()


def test_equal_seeds_give_equal_weights(listed):
    few = replace(OPTIONS, steps=3)
    one, two, other = (weights(listed, seed, few) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_shares_of_the_pictures_move_the_last_bias_alone(listed):
    few = replace(OPTIONS, steps=2)
    mostly_dark = [one for one in listed if one.label == "dark"] + listed[-5:]
    equal = weights(mostly_dark, 1, replace(few, shares="equal"))
    as_given = weights(mostly_dark, 1, few)
    moved = {name for name in equal if not torch.equal(equal[name], as_given[name])}
    assert moved == {"last.bias"}
    shift = as_given["last.bias"] - equal["last.bias"]
    assert (shift[0] - shift[1]).item() == pytest.approx(np.log(20 / 5), abs=1e-5)


def test_unreadable_files_are_named_and_left_out(listed):
    Path(listed[3].uri).write_bytes(b"no picture")
    Path(listed[7].uri).unlink()
    pictures, skipped = read_pictures(listed, OPTIONS.spec(LABELS))
    assert [one.uri for one in skipped] == [listed[3].uri, listed[7].uri]
    assert all(one.reason for one in skipped)
    assert pictures.counts == (18, 20)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda listed: listed[:20], "at least two classes, got dark"),
        (lambda _: [], "at least two classes, got no picture"),
        (lambda listed: listed[:22], "class 'light' must have at least 4 readable pictures, got 2"),
    ],
)
def test_too_few_classes_or_pictures_are_refused(listed, tmp_path, broken, said):
    with pytest.raises(InvalidInputError, match=said):
        train_classifier(broken(listed), OPTIONS, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_loss_that_is_not_finite_ends_the_training(listed, tmp_path, monkeypatch):
    nothing = torch.tensor(torch.nan, requires_grad=True)
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda *_: nothing)
    with pytest.raises(TrainingFailedError, match=r"the loss is nan after 0 steps: .* 0\.003 may"):
        train_classifier(listed, OPTIONS, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_densenet_has_the_published_number_of_weights():
    features = sum(each.numel() for each in densenet.build(2, 3).features.parameters())
    # DenseNet-121 with its one linear layer of 1000 classes has 7 978 856.
    assert features + 1024 * 1000 + 1000 == 7_978_856


def test_densenet_learns(listed):
    options = replace(OPTIONS, network="densenet121", channels=3, steps=2, batch=4)
    pictures, _ = read_pictures(listed, options.spec(LABELS))
    losses = []
    network = options.run(pictures, Keys.root(0, "d"), lambda _number, loss: losses.append(loss))
    assert len(losses) == 2
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def pictures_of(names, classes):
    return Pictures(
        labels=LABELS,
        values=torch.zeros(len(names), 1, 32, 32, dtype=torch.uint8),
        classes=torch.tensor(classes),
        names=tuple(names),
    )


def test_a_picture_and_its_twin_stay_together():
    names = [f"{index:03d}" for index in range(200)]
    pictures = pictures_of(names * 2, [0] * 200 + [1] * 200)
    training, test = pictures.split(0.25, Keys.root(0, "split"))
    assert not set(training.names) & set(test.names)
    assert test.counts[0] == test.counts[1]
    assert 0.15 < len(test) / 400 < 0.35


def test_a_batch_has_the_classes_equally_often_however_rare():
    pictures = pictures_of(list("abcdefgh"), [0] * 7 + [1])
    pictures.values[7] = 255
    images, classes = balanced_batch(pictures, 10, "both", np.random.default_rng(0))
    assert classes.tolist() == [0, 1] * 5
    assert torch.equal(images.amax(dim=(1, 2, 3)), classes.float())


def test_quality_counts_by_class():
    pictures = pictures_of(list("abcd"), [0, 0, 0, 1])
    always_dark = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 2))
    with torch.no_grad():
        always_dark[1].weight.zero_()
        always_dark[1].bias.copy_(torch.tensor([1.0, 0.0]))
    found = measure(always_dark, OPTIONS.spec(LABELS), pictures)
    assert found == Quality(labels=LABELS, pictures=(3, 1), correct=(3, 0))
    assert (found.accuracy, found.balanced_accuracy) == (0.75, 0.5)
