"""The embedded classifier: its training, its files and what it answers."""

import numpy as np
import onnxruntime
import pytest
import torch

from xaiserve.data.embedded_files import load_embedded, write_embedded
from xaiserve.data.network import build
from xaiserve.data.planted import planted_sample, planted_samples
from xaiserve.data.training import (
    EMBEDDED_SPEC,
    Training,
    accuracy,
    occluded_set,
    training_batch,
)
from xaiserve.models.loading import load_classifier
from xaiserve.models.spec_files import read_spec
from xaiserve.models.state_dict_classifier import embedded_folder
from xaiserve.perturb.rng import Keys

FRESH_SEED = 77_000_000


@pytest.fixture(scope="module")
def network():
    return load_embedded()


@pytest.fixture(scope="module")
def fresh():
    return list(planted_samples(FRESH_SEED, 64))


def pixels(sample):
    return sample.image.astype(np.float32) / 255


def diseased_share(network, picture):
    images = torch.from_numpy(np.asarray(picture, dtype=np.float32))[None, None]
    with torch.inference_mode():
        return float(EMBEDDED_SPEC.probabilities(network(EMBEDDED_SPEC.normalise(images)))[0, 1])


def onnx_outputs(folder, inputs):
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"inputs": inputs.numpy()})[0]


def test_whole_fresh_pictures_are_told_apart(network, fresh):
    targets = [int(sample.label == "diseased") for sample in fresh]
    assert accuracy(network, [pixels(sample) for sample in fresh], targets) >= 0.97


def test_partly_hidden_fresh_pictures_are_told_apart(network, fresh):
    pictures, targets = zip(*occluded_set(fresh, Keys.root(FRESH_SEED, "hidden")), strict=True)
    assert 0 < sum(targets) < len(targets)
    assert accuracy(network, pictures, targets) >= 0.97


def test_a_blank_picture_is_healthy(network):
    neutral = np.full((224, 224), float(EMBEDDED_SPEC.neutral), dtype=np.float32)
    assert float(EMBEDDED_SPEC.neutral) == 0.5
    assert diseased_share(network, neutral) < 0.1


def test_each_lesion_suffices_alone_and_the_rest_without_any_does_not(network):
    for index in range(12):
        sample = planted_sample(FRESH_SEED + 1, index, lesions=3)
        picture = pixels(sample)
        for feature in sample.features:
            assert diseased_share(network, np.where(feature.mask, picture, 0.5)) > 0.5
        assert diseased_share(network, np.where(sample.truth, 0.5, picture)) < 0.5


def test_half_a_lesion_does_not_suffice(network):
    for index in range(12):
        sample = planted_sample(FRESH_SEED + 2, index, lesions=1)
        picture, (roof, base) = pixels(sample), sample.features[0].parts
        for half in (roof, base):
            assert diseased_share(network, np.where(half, picture, 0.5)) < 0.5


def test_the_committed_files_hold_the_same_network(network):
    inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 1, 224, 224)))
    with torch.inference_mode():
        expected = network(inputs.float()).numpy()
    found = onnx_outputs(embedded_folder(), inputs.float())
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())


def test_the_committed_weights_are_under_two_megabytes():
    sizes = [path.stat().st_size for path in embedded_folder().iterdir()]
    assert sum(sizes) < 2_000_000


def test_the_committed_specification_is_the_one_of_the_code():
    assert read_spec(embedded_folder()) == EMBEDDED_SPEC


def test_the_loader_gives_scores_and_gradients_of_the_same_network():
    classifier = load_classifier("embedded", batch_rows=4)
    picture = torch.from_numpy(pixels(planted_sample(FRESH_SEED, 0, lesions=1)))[None, None]
    logits = classifier.gradients().logits(picture.requires_grad_())
    assert torch.allclose(logits.softmax(dim=1), classifier.scores(picture.detach()), atol=1e-5)
    logits[0, 1].backward()
    assert picture.grad is not None
    assert float(picture.grad.abs().max()) > 0


def test_two_steps_of_training_change_the_weights_and_repeat():
    losses = []
    settings = Training(seed=1, pictures=6, steps=4, batch_rows=4)
    first = settings.run(lambda number, loss: losses.append((number, loss)))
    second = settings.run()
    assert [number for number, _ in losses] == [0, 1, 2, 3]
    assert all(np.isfinite(loss) for _, loss in losses)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name]), name
    assert not torch.equal(first.evidence.weight, build().evidence.weight)


def test_training_batches_are_normalised_and_hold_both_classes():
    pool = list(planted_samples(0, 8))
    inputs, targets = training_batch(pool, np.random.default_rng(0), 32)
    assert inputs.shape == (32, 1, 224, 224)
    assert -2 <= float(inputs.min()) <= float(inputs.max()) <= 2
    assert set(targets.tolist()) == {0, 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_written_files_agree_and_take_any_number_of_rows(tmp_path):
    network = build()
    write_embedded(network, tmp_path)
    for rows in (1, 3):
        inputs = torch.ones(rows, 1, 224, 224)
        with torch.inference_mode():
            expected = load_embedded(tmp_path)(inputs).numpy()
        assert np.allclose(onnx_outputs(tmp_path, inputs), expected, atol=1e-5)
    assert read_spec(tmp_path) == EMBEDDED_SPEC
