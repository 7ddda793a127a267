"""The embedded translator: what it draws for the classifier that xaiserve ships."""

import numpy as np
import pytest
import torch

from xaiserve.data.planted import planted_samples
from xaiserve.gan.translator import embedded_translator_folder, load_translator
from xaiserve.models.loading import load_classifier

FRESH_SEED = 78_000_000


@pytest.fixture(scope="module")
def translator():
    return load_translator("embedded")


@pytest.fixture(scope="module")
def samples():
    return list(planted_samples(FRESH_SEED, 12, diseased_only=True))


@pytest.fixture(scope="module")
def images(samples):
    pictures = np.stack([sample.image for sample in samples])
    return torch.from_numpy(pictures).float().unsqueeze(1) / 255


def test_its_classes_and_size_are_those_of_the_embedded_classifier(translator):
    spec = load_classifier("embedded").spec
    assert translator.labels == spec.labels
    assert (translator.side, translator.channels) == (spec.height, spec.channels)


def test_diseased_pictures_become_healthy_to_the_classifier(translator, images):
    drawn = translator.translate(images, translator.target("healthy"))
    scores = load_classifier("embedded").scores(torch.cat([images, drawn]))
    assert bool((scores[:12, 1] > 0.5).all())
    assert float((scores[12:, 0] > 0.5).float().mean()) >= 0.9


def test_lesions_change_more_than_what_surrounds_them(translator, samples, images):
    truth = torch.from_numpy(np.stack([sample.truth for sample in samples])).unsqueeze(1)
    change = (translator.translate(images, 0) - images).abs()
    assert float(change[truth].mean()) > 0.15
    assert float(change[~truth].mean()) < 0.02


def test_a_picture_is_drawn_alike_alone_and_in_company(translator, images):
    together = translator.translate(images[:5], [0, 1, 0, 0, 1])
    alone = translator.translate(images[3:4], 0)
    assert torch.equal(together[3], alone[0])


def test_the_committed_folder_is_under_three_megabytes():
    sizes = [path.stat().st_size for path in embedded_translator_folder().iterdir()]
    assert sum(sizes) < 3_000_000
