"""Turn described questions into model inputs, straight into the batch buffer.

Composing happens on normalised pictures: a scene's two pictures are normalised once, when the first
question about it arrives, and never per perturbed image. One fused interpolation per row,
``fill + weight * (image - fill)``, exact at weights 0 and 1; over a fill of 0 a product.
"""

import threading
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final
from weakref import WeakKeyDictionary

import torch

from xaiserve.models.classifier import Classifier
from xaiserve.perturb._upload import upload
from xaiserve.perturb.query import Leaf, Pixels, Scene
from xaiserve.types import Images

ZERO: Final = 1e-6
"""A normalised fill below this is 0: normalising the neutral colour leaves a rounding error."""


class Pictures:
    """The normalised pictures of scenes, on one device, while somebody holds the scene."""

    def __init__(self, classifier: Classifier) -> None:
        self._spec = classifier.spec
        self._device = classifier.device
        self._scenes: WeakKeyDictionary[Scene, tuple[Images, Images | None]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def of(self, scene: Scene) -> tuple[Images, Images | None]:
        """Return the image and the fill, (1, c, h, w) each, normalised once; no fill where it is 0.

        That is the neutral fill, the commonest; a product then does for an interpolation.
        """
        with self._lock:
            found = self._scenes.get(scene)
            if found is None:
                both = upload(torch.stack([scene.image, scene.fill]), self._device)
                image, fill = self._spec.normalise(both).unsqueeze(1)
                nothing = bool(fill.abs().max() < ZERO)
                found = self._scenes[scene] = (image, None if nothing else fill)
            return found


class Composer:
    """Composes for one classifier, on its device; used by one thread at a time.

    Parameters
    ----------
    classifier
        Whose inputs are composed.
    rows
        Rows of a buffer, at least 1.
    buffers
        How many there are: one can be composed into while another is scored.
    pictures
        Shared by composers of one classifier; its own when none.
    """

    def __init__(
        self,
        classifier: Classifier,
        rows: int,
        *,
        buffers: int = 1,
        pictures: Pictures | None = None,
    ) -> None:
        spec = classifier.spec
        self._spec = spec
        self._device = classifier.device
        self._pictures = pictures or Pictures(classifier)
        shape = (rows, spec.channels, spec.height, spec.width)
        self._weights = torch.empty(rows, spec.height, spec.width, device=self._device)
        self.buffers: tuple[Images, ...] = tuple(
            torch.empty(shape, device=self._device) for _ in range(buffers)
        )

    @property
    def inputs(self) -> Images:
        """The first buffer, or the only one."""
        return self.buffers[0]

    def compose_all(self, leaves: Sequence[Leaf], inputs: Images) -> int:
        """Write the rows of ``leaves`` into a buffer from its first row, and return how many."""
        rows = 0
        for leaf in _together(leaves):
            self.compose(leaf, rows, inputs)
            rows += len(leaf)
        return rows

    def compose(self, leaf: Leaf, at: int, inputs: Images | None = None) -> None:
        """Write the rows of ``leaf`` into a buffer, `inputs` unless given, from row ``at``."""
        out = (self.inputs if inputs is None else inputs)[at : at + len(leaf)]
        if isinstance(leaf, Pixels):
            out.copy_(self._spec.normalise(upload(leaf.images, self._device)))
            return
        image, fill = self._pictures.of(leaf.scene)
        weights = self._weights[: len(leaf)]
        leaf.weigh(weights)
        if fill is None:
            torch.mul(image, weights.unsqueeze(1), out=out)
        else:
            torch.lerp(fill, image, weights.unsqueeze(1), out=out)


def _together(leaves: Sequence[Leaf]) -> Iterator[Leaf]:
    """Join finished pictures that follow each other: many predicts are one copy."""
    for finished, group in groupby(leaves, lambda leaf: isinstance(leaf, Pixels)):
        several = list(group)
        if finished and len(several) > 1:
            yield Pixels(torch.cat([leaf.images for leaf in several if isinstance(leaf, Pixels)]))
        else:
            yield from several
