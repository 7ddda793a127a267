"""Run lengths against a slow twin of COCO's format, written from its description."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from xaiserve.errors import InvalidInputError
from xaiserve.storage.rle import mask_to_rle, rle_to_mask


@st.composite
def masks(draw: st.DrawFn) -> torch.Tensor:
    h, w = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    values = draw(st.binary(min_size=h * w, max_size=h * w))
    return torch.tensor([value & 1 for value in values], dtype=torch.bool).view(h, w)


def slow_counts(mask: torch.Tensor) -> str:
    """Run lengths in column order from zeros on, each from the fourth as the difference to the
    one before the last, in base 32: five bits per character, bit 5 for more, offset 48."""
    runs, value = [0], False
    for pixel in mask.T.flatten().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    text = ""
    for i, run in enumerate(runs):
        left, more = run - (runs[i - 2] if i > 2 else 0), True
        while more:
            digit, left = left & 31, left >> 5
            more = left != (-1 if digit & 16 else 0)
            text += chr(48 + (digit | (32 if more else 0)))
    return text


@given(masks())
def test_counts_are_those_of_the_description(mask: torch.Tensor) -> None:
    assert mask_to_rle(mask) == {"size": list(mask.shape), "counts": slow_counts(mask)}


@given(masks())
def test_a_mask_survives_json(mask: torch.Tensor) -> None:
    assert torch.equal(rle_to_mask(json.loads(json.dumps(mask_to_rle(mask)))), mask)


@pytest.mark.parametrize("counts", ["", "05", "~~~~", "0000", "0<1", "P", "Ü", "00Ob0"])
def test_counts_that_do_not_fill_the_size_are_refused(counts: str) -> None:
    with pytest.raises(InvalidInputError, match="mask_rle must fill 3x4 = 12 pixels, got"):
        rle_to_mask({"size": [3, 4], "counts": counts})


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@given(masks())
def test_pycocotools_reads_the_same_mask(mask: torch.Tensor) -> None:
    rle = mask_to_rle(mask)
    theirs = coco.decode({"size": rle["size"], "counts": rle["counts"].encode()})
    assert theirs.astype(bool).tolist() == rle_to_mask(rle).tolist()


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_a_mask_without_pixels_survives(shape: tuple[int, int]) -> None:
    assert rle_to_mask(mask_to_rle(torch.zeros(shape, dtype=torch.bool))).shape == shape
