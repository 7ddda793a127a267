from pathlib import Path

import pytest
import torch

from xaiserve.errors import InvalidInputError, UntrustedModelError
from xaiserve.models.loading import load_classifier
from xaiserve.testing.tiny_models import images, write_pt2, write_spec


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_spec(tmp_path)
    return write_pt2(tmp_path)


def test_an_archive_is_not_opened_unless_it_is_trusted(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"opening this would fail differently")
    with pytest.raises(UntrustedModelError, match=r"can run code .* --trust-code"):
        load_classifier(folder)


def test_a_trusted_archive_scores_and_has_gradients(folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(folder, trust_code=True, batch_rows=2, cache_folder=tmp_path)
    expected = (10 * images(5).mean(dim=(2, 3))).softmax(dim=1)
    torch.testing.assert_close(classifier.scores(images(5)), expected)
    pixels = images(2).requires_grad_()
    classifier.gradients().logits(pixels).sum().backward()
    assert pixels.grad is not None
    assert classifier.gradients() is classifier.gradients()


def test_a_damaged_archive_is_refused(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"PK not a zip")
    with pytest.raises(InvalidInputError, match=r"model\.pt2 cannot be loaded by torch\.export"):
        load_classifier(folder, trust_code=True)
